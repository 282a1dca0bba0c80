//! What is said in clear about SAs (RFC 7296 §2.21.4).

use std::net::SocketAddr;

use ike_proto::ids::IkeSpi;
use ike_proto::time::Duration;
use ike_proto::wire::registry::{ExchangeType, NotifyType};
use ike_proto::wire::{Flags, Header, Notify, Payload};

use crate::table::{Message, Table, notify, plain};

#[test]
fn a_request_for_an_unknown_sa_is_answered_in_clear_to_where_it_came_from() {
    let mut table = Table::up(&plain());
    let voice = table.voice(0);
    let spis = (IkeSpi(0x0a0b), IkeSpi(0x0c0d));
    for exchange in [ExchangeType::INFORMATIONAL, ExchangeType::CREATE_CHILD_SA, ExchangeType::IKE_AUTH] {
        let header = Header { spi_i: spis.0, spi_r: spis.1, exchange, message_id: 77, ..voice.header };
        let stray = table.sealed(&voice, header, &[]);
        let source = SocketAddr::new(table.hosts[0].spec.addresses[0], 12_345);
        let before = table.sent.len();
        table.deliver_from(&stray, source);
        let [answer] = &table.sent[before..] else { panic!("{}", table.ladder()) };
        assert_eq!(answer.flow.remote, source);
        assert_eq!(answer.flow.local.port(), voice.flow.remote.port());
        assert!(answer.sealed().is_none());
        assert_eq!(answer.spis(), spis);
        assert_eq!((answer.header.exchange, answer.header.message_id), (exchange, 77));
        assert_eq!(answer.header.flags, Flags::new(false, true));
        assert_eq!(answer.parts.0[0], Payload::Notify(Notify::error(NotifyType::INVALID_IKE_SPI)));
        table.wire.clear();
    }
}

/// INVALID_IKE_SPI in the second host's name.
fn hint(table: &Table) -> Message {
    let voice = table.voice(1);
    let header = Header { flags: Flags::new(voice.header.flags.is_initiator(), true), ..voice.header };
    table.shout(&voice, header, &[notify(NotifyType::INVALID_IKE_SPI)])
}

#[test]
fn hints_bring_one_liveness_check_in_ten_seconds_and_nothing_else() {
    let mut table = Table::up(&plain());
    table.pass(Duration::from_secs(30));
    let (sas, child) = (table.ike_sas(0), table.children(0));
    let mut asked = Vec::new();
    for _ in 0..100 {
        let hint = hint(&table);
        let before = table.sent.len();
        table.deliver(&hint);
        asked.extend(table.sent[before..].iter().filter(|sent| sent.from == 0).cloned());
        table.pass(Duration::from_millis(300));
    }
    // Thirty seconds of them.
    assert_eq!(asked.len(), 3, "{}", table.ladder());
    assert!(asked.iter().all(|sent| sent.asks(0, ExchangeType::INFORMATIONAL) && sent.sealed().is_some()));
    assert_eq!((table.ike_sas(0), table.children(0)), (sas, child));
}
