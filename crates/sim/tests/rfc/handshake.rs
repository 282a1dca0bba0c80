//! IKE_SA_INIT and IKE_AUTH (RFC 7296 §1.2, §2.4, §2.6, §2.21.2, §3.1; RFC 6023).

use coati_sim::TwoHosts;
use ike_proto::ids::IkeSpi;
use ike_proto::output::What;
use ike_proto::policy::identity::Identity;
use ike_proto::policy::peer::LocalId;
use ike_proto::policy::sad::Direction;
use ike_proto::time::Duration;
use ike_proto::wire::registry::{ExchangeType, KeId, NotifyType, PayloadType, TransformType};
use ike_proto::wire::{Auth, Header, Notify, Payload, Unknown};

use crate::table::{Message, Table, notify, plain, raw};

const INIT: ExchangeType = ExchangeType::IKE_SA_INIT;
const AUTH: ExchangeType = ExchangeType::IKE_AUTH;

/// The second host takes another group than the first one tries.
fn other_group() -> TwoHosts {
    let mut two = plain();
    for offer in &mut two.peers[1].offers {
        offer.ke = vec![KeId::ECP384];
    }
    two
}

/// Everybody is asked for a cookie.
fn asking_for_cookies(mut two: TwoHosts) -> TwoHosts {
    two.config.cookie_threshold = 0;
    two
}

fn cookie(octets: Vec<u8>) -> Payload {
    Payload::Notify(Notify::status(NotifyType::COOKIE, octets))
}

fn shown(message: &Message) -> Option<&[u8]> {
    message.parts.notify(NotifyType::COOKIE).map(|notify| notify.data.as_slice())
}

/// An answer in clear to a first request.
fn told(table: &Table, request: &Message, payloads: &[Payload]) -> Message {
    let header =
        Header { spi_r: IkeSpi::ZERO, flags: ike_proto::wire::Flags::new(false, true), ..request.header };
    let from = Message { from: 1, flow: turned(request), ..request.clone() };
    table.shout(&from, header, payloads)
}

/// The flow of an answer, as its sender sees it.
fn turned(request: &Message) -> ike_proto::output::Flow {
    let flow = request.flow;
    ike_proto::output::Flow { local: flow.remote, remote: flow.local, ..flow }
}

#[test]
fn all_proposals_come_again_with_the_group_that_was_named() {
    let mut table = Table::new(&other_group());
    table.bring_up();
    let forms: Vec<&Message> = table.sent.iter().filter(|sent| sent.asks(0, INIT)).collect();
    let [first, second] = forms.as_slice() else { panic!("{}", table.ladder()) };
    assert!(table.sent.iter().any(|sent| sent.answers(1, INIT) && sent.has(NotifyType::INVALID_KE_PAYLOAD)));
    assert_eq!(second.parts.ke().unwrap().method, KeId::ECP384);
    assert_eq!(second.parts.sa(), first.parts.sa());
    let groups = first.parts.sa().unwrap().proposals[0].transforms.iter();
    assert!(groups.filter(|transform| transform.kind == TransformType::KE).count() > 1);
}

#[test]
fn no_proposal_in_ike_auth_has_a_group_not_even_none() {
    // The children are rekeyed with groups.
    let table = Table::up(&TwoHosts::plain());
    let auth: Vec<&Message> = table.sent.iter().filter(|sent| sent.is(AUTH)).collect();
    assert_eq!(auth.len(), 2);
    for message in auth {
        let proposals = &message.parts.sa().unwrap().proposals;
        assert!(!proposals.is_empty());
        assert!(proposals.iter().all(|proposal| {
            proposal.transforms.iter().all(|transform| transform.kind != TransformType::KE)
        }));
    }
}

#[test]
fn the_cookie_goes_in_front_and_all_else_is_unchanged() {
    let mut table = Table::new(&asking_for_cookies(plain()));
    table.bring_up();
    let forms: Vec<&Message> = table.sent.iter().filter(|sent| sent.asks(0, INIT)).collect();
    let [first, second] = forms.as_slice() else { panic!("{}", table.ladder()) };
    let asked = table.sent.iter().find(|sent| sent.answers(1, INIT)).unwrap();
    let octets = shown(asked).unwrap().to_vec();
    assert!((1..=64).contains(&octets.len()));
    assert_eq!(second.parts.0[0], cookie(octets));
    assert_eq!(second.parts.0[1..], first.parts.0[..]);
    let header = Header { first: first.header.first, length: first.header.length, ..second.header };
    assert_eq!(header, first.header);
}

#[test]
fn a_cookie_of_no_or_too_many_octets_is_not_shown() {
    for (len, fits) in [(0, false), (1, true), (64, true), (65, false)] {
        let mut table = Table::new(&plain());
        table.initiate(0);
        let request = table.until(|sent| sent.asks(0, INIT));
        let asked = told(&table, &request, &[cookie(vec![7; len])]);
        let answers = table.react(&asked);
        let repeated = answers.iter().any(|sent| shown(sent) == Some(&vec![7; len]));
        assert_eq!((repeated, answers.len()), (fits, usize::from(fits)), "{len} octets");
    }
}

#[test]
fn a_wrong_cookie_counts_as_none() {
    let mut table = Table::new(&asking_for_cookies(plain()));
    table.initiate(0);
    let first = table.until(|sent| sent.asks(0, INIT));
    let asked = table.react(&first).remove(0);
    let right = shown(&asked).unwrap().to_vec();
    for place in 0..right.len() {
        let mut wrong = right.clone();
        wrong[place] ^= 1;
        let payloads = [vec![cookie(wrong)], first.parts.0.clone()].concat();
        let request = table.rewrite(&first, &payloads);
        let answers = table.react(&request);
        assert_eq!(answers.len(), 1);
        // What somebody without a cookie gets.
        assert_eq!(answers[0].parts, asked.parts, "octet {place}");
        assert!(table.hosts[1].jobs.is_empty() && table.hosts[1].endpoint.pairs().is_empty());
    }
    let payloads = [vec![cookie(right)], first.parts.0.clone()].concat();
    let request = table.rewrite(&first, &payloads);
    assert!(table.react(&request)[0].parts.has_sa());
}

#[test]
fn a_cookie_is_good_for_two_spans_of_two_minutes_at_most() {
    // The second of these comes when the secret is as old, but nobody has asked for another in between.
    for (waits, good) in [(vec![100], true), (vec![130], true), (vec![130, 130], false), (vec![260], false)] {
        let mut table = Table::new(&asking_for_cookies(plain()));
        table.initiate(0);
        let first = table.until(|sent| sent.asks(0, INIT));
        let asked = table.react(&first).remove(0);
        let payloads = [vec![cookie(shown(&asked).unwrap().to_vec())], first.parts.0.clone()].concat();
        let request = table.rewrite(&first, &payloads);
        for (number, wait) in waits.iter().enumerate() {
            table.now = table.now + Duration::from_secs(*wait);
            if number + 1 < waits.len() {
                table.react(&first);
            }
        }
        let answers = table.react(&request);
        assert_eq!(answers[0].parts.has_sa(), good, "{waits:?}");
    }
}

#[test]
fn three_cookies_are_shown_in_one_attempt_and_no_more() {
    let mut table = Table::new(&plain());
    table.initiate(0);
    let mut request = table.until(|sent| sent.asks(0, INIT));
    for number in 1..=5_u8 {
        let asked = told(&table, &request, &[cookie(vec![number; 8])]);
        let answers = table.react(&asked);
        assert_eq!(answers.len(), usize::from(number <= 3), "cookie {number}");
        request = answers.into_iter().next().unwrap_or(request);
    }
}

#[test]
fn a_responder_that_wants_another_cookie_with_the_other_group_gets_it() {
    let mut table = Table::new(&asking_for_cookies(other_group()));
    table.initiate(0);
    let third = table.until(|sent| sent.asks(0, INIT) && sent.parts.ke().unwrap().method == KeId::ECP384);
    // It has the cookie of the form before it.
    assert!(shown(&third).is_some());
    let asked = told(&table, &third, &[cookie(vec![9; 20])]);
    let fourth = table.react(&asked).remove(0);
    assert_eq!(shown(&fourth), Some([9; 20].as_slice()));
    assert_eq!(fourth.parts.0[1..], third.parts.0[1..]);
}

#[test]
fn the_spis_of_first_requests_are_one_and_none() {
    let mut table = Table::new(&asking_for_cookies(other_group()));
    table.lost = Box::new(|sent| sent.answers(1, INIT) && sent.parts.has_sa());
    table.initiate(0);
    table.pass(Duration::from_secs(20));
    let forms: Vec<&Message> = table.sent.iter().filter(|sent| sent.asks(0, INIT)).collect();
    // As it was first, with a cookie, with another group, and repetitions of that.
    assert!(forms.len() > 4, "{}", table.ladder());
    assert!(forms.iter().all(|form| form.header.spi_i != IkeSpi::ZERO));
    assert!(forms.iter().all(|form| form.header.spi_r == IkeSpi::ZERO));
}

#[test]
fn a_first_request_without_an_spi_or_with_two_begins_nothing() {
    let mut table = Table::new(&plain());
    table.initiate(0);
    let first = table.until(|sent| sent.asks(0, INIT));
    for (spi_i, spi_r) in [(0, 0), (7, 8)] {
        let header = Header { spi_i: IkeSpi(spi_i), spi_r: IkeSpi(spi_r), ..first.header };
        let request = table.shout(&first, header, &first.parts.0);
        assert_eq!(table.react(&request).len(), 0, "{spi_i} {spi_r}");
        assert!(table.hosts[1].endpoint.pairs().is_empty());
    }
    assert_eq!(table.react(&first).len(), 1);
}

#[test]
fn a_request_of_a_higher_minor_version_is_served_in_ours() {
    let mut table = Table::new(&plain());
    table.initiate(0);
    let first = table.until(|sent| sent.asks(0, INIT));
    let request = table.shout(&first, Header { minor: 15, ..first.header }, &first.parts.0);
    let answers = table.react(&request);
    assert!(answers[0].parts.has_sa());
    assert_eq!((answers[0].header.major, answers[0].header.minor), (2, 0));
}

/// What the second host answers to an IKE_AUTH request that holds these payloads instead of its own.
fn auth_with(change: impl Fn(&Message) -> Vec<Payload>) -> (Table, Vec<Message>) {
    let mut table = Table::new(&plain());
    table.initiate(0);
    let request = table.until(|sent| sent.asks(0, AUTH));
    let payloads = change(&request);
    let spoiled = table.rewrite(&request, &payloads);
    let answers = table.react(&spoiled);
    (table, answers)
}

fn assert_refused(table: &Table, answers: &[Message], with: &Notify) {
    assert_eq!(answers.len(), 1, "{}", table.ladder());
    assert!(answers[0].answers(1, AUTH));
    assert_eq!(answers[0].parts.0, [Payload::Notify(with.clone())], "nothing besides");
    assert!(table.ike_sas(1).is_empty());
    assert_eq!(table.hosts[1].sad.live().count(), 0);
    assert_eq!(table.count(1, |what| matches!(what, What::IkeSaUp { .. })), 0);
}

#[test]
fn a_request_without_auth_is_authentication_failed() {
    let (table, answers) =
        auth_with(|request| request.without(|payload| matches!(payload, Payload::Auth(_))));
    assert_refused(&table, &answers, &Notify::error(NotifyType::AUTHENTICATION_FAILED));
}

#[test]
fn a_malformed_ike_auth_is_refused_whole_with_invalid_syntax() {
    let malformed: [fn(&Message) -> Vec<Payload>; 3] = [
        // A Notify payload whose SPI is longer than it, two identities, and none.
        |request| [request.parts.0.clone(), vec![raw(PayloadType::NOTIFY, &[3, 200, 0x40, 0])]].concat(),
        |request| [request.parts.0.clone(), vec![request.parts.0[0].clone()]].concat(),
        |request| request.without(|payload| matches!(payload, Payload::IdI(_))),
    ];
    for change in malformed {
        let (table, answers) = auth_with(change);
        assert_refused(&table, &answers, &Notify::error(NotifyType::INVALID_SYNTAX));
    }
}

#[test]
fn a_critical_payload_in_ike_auth_is_refused_whole_by_its_type() {
    let (table, answers) = auth_with(|request| {
        let unknown = Unknown { payload_type: PayloadType(200), critical: true, body: vec![1] };
        [request.parts.0.clone(), vec![Payload::Unknown(unknown)]].concat()
    });
    assert_refused(&table, &answers, &Notify::unsupported_critical_payload(PayloadType(200)));
}

#[test]
fn authentication_failed_after_ike_auth_ends_the_sa() {
    let mut table = Table::up(&plain());
    let voice = table.voice(0);
    let answers =
        table.ask(&voice, ExchangeType::INFORMATIONAL, &[notify(NotifyType::AUTHENTICATION_FAILED)]);
    assert!(answers[0].answers(1, ExchangeType::INFORMATIONAL));
    assert!(answers[0].parts.0.is_empty());
    assert!(table.ike_sas(1).is_empty());
    assert_eq!(table.hosts[1].sad.live().count(), 0);
}

#[test]
fn a_responder_that_is_not_believed_is_told_and_ends() {
    let mut table = Table::new(&plain());
    table.initiate(0);
    let response = table.until(|sent| sent.answers(1, AUTH));
    let mut payloads = response.without(|payload| matches!(payload, Payload::Auth(_)));
    let auth = response.parts.auth().unwrap();
    payloads.push(Payload::Auth(Auth { data: vec![0; auth.data.len()], ..auth.clone() }));
    assert_eq!(table.ike_sas(1).len(), 1);
    let wrong = table.rewrite(&response, &payloads);
    table.deliver(&wrong);
    assert_eq!(table.hosts[0].sad.live().count(), 0);
    let said = table.until(|sent| sent.asks(0, ExchangeType::INFORMATIONAL));
    table.deliver(&said);
    assert!(table.ike_sas(1).is_empty());
    assert_eq!(table.hosts[1].sad.live().count(), 0);
}

#[test]
fn initial_contact_is_said_in_the_first_ike_auth_and_never_again() {
    let mut two = TwoHosts::plain();
    for peer in &mut two.peers {
        peer.lifetime = Duration::from_secs(100);
        peer.child.lifetime = Duration::from_secs(60);
    }
    let mut table = Table::up(&two);
    table.pass(Duration::from_secs(600));
    // Another IKE SA of the same pair, while there is one.
    let rekeyed = table.count(0, |what| matches!(what, What::IkeSaRekeyed { .. }));
    assert!(rekeyed > 3, "{}", table.ladder());
    let saying: Vec<&Message> =
        table.sent.iter().filter(|sent| sent.has(NotifyType::INITIAL_CONTACT)).collect();
    assert_eq!(saying.len(), 1);
    assert!(saying[0].asks(0, AUTH) && saying[0].header.message_id == 1);
}

#[test]
fn a_name_is_sent_as_it_was_configured_and_no_terminator_behind_it() {
    let mut two = plain();
    two.peers[0].local_id = LocalId::Fixed(Identity::fqdn("alpha.example"));
    two.peers[1].expected_ids = vec![Identity::fqdn("alpha.example")];
    let mut table = Table::new(&two);
    table.initiate(0);
    let request = table.until(|sent| sent.asks(0, AUTH));
    assert_eq!(request.parts.id_i().unwrap().data, b"alpha.example");
}

/// The first host's IKE_AUTH request, when its kernel gives no SPI for a child; `said` is whether the peer makes IKE SAs without.
fn childless(said: bool) -> (Table, Option<Message>) {
    let mut table = Table::new(&plain());
    table.initiate(0);
    let response = table.until(|sent| sent.answers(1, INIT));
    let silent = |payload: &Payload| matches!(payload, Payload::Notify(it) if it.notify_type == NotifyType::CHILDLESS_IKEV2_SUPPORTED);
    let payloads = response.without(|payload| !said && silent(payload));
    let response = table.rewrite(&response, &payloads);
    table.hosts[0].sad.refuse_spis(1);
    table.deliver(&response);
    let request = table.wire.iter().find(|sent| sent.asks(0, AUTH)).cloned();
    (table, request)
}

#[test]
fn a_child_is_left_out_of_ike_auth_only_where_the_responder_said_so() {
    let (table, request) = childless(true);
    let request = request.unwrap();
    assert!(!request.parts.has_sa() && request.parts.ts_i().is_err() && request.parts.ts_r().is_err());
    assert_eq!(table.count(0, |what| matches!(what, What::HandshakeFailed { .. })), 0);
    let (table, request) = childless(false);
    assert!(request.is_none(), "{}", table.ladder());
    assert_eq!(table.count(0, |what| matches!(what, What::HandshakeFailed { .. })), 1);
}

#[test]
fn ike_auth_without_a_child_makes_an_ike_sa() {
    let (table, answers) = auth_with(|request| {
        request.without(|payload| matches!(payload, Payload::Sa(_) | Payload::TsI(_) | Payload::TsR(_)))
    });
    let parts = &answers[0].parts;
    assert!(parts.id_r().is_ok() && parts.auth().is_ok() && parts.error().is_none());
    assert!(!parts.has_sa() && parts.ts_i().is_err() && parts.ts_r().is_err());
    assert!(table.ike_sa(1).children.is_empty());
    assert_eq!(table.hosts[1].sad.live().count(), 0);
}

#[test]
fn ipcomp_is_never_asked_for_and_never_taken() {
    let (table, answers) = auth_with(|request| {
        let cpi = Notify::status(NotifyType::IPCOMP_SUPPORTED, vec![0x12, 0x34, 3]);
        [request.parts.0.clone(), vec![Payload::Notify(cpi)]].concat()
    });
    assert!(!answers[0].has(NotifyType::IPCOMP_SUPPORTED));
    assert_eq!(table.children(1).len(), 1);
    assert!(table.sent.iter().all(|sent| !sent.has(NotifyType::IPCOMP_SUPPORTED)));
}

#[test]
fn a_public_value_outside_its_group_begins_no_ike_sa() {
    let mut table = Table::new(&plain());
    table.initiate(0);
    let first = table.until(|sent| sent.asks(0, INIT));
    let mut ke = first.parts.ke().unwrap().clone();
    ke.data[0] ^= 1;
    let payloads: Vec<Payload> = first
        .parts
        .0
        .iter()
        .map(|payload| match payload {
            Payload::Ke(_) => Payload::Ke(ke.clone()),
            other => other.clone(),
        })
        .collect();
    let request = table.rewrite(&first, &payloads);
    let answers = table.react(&request);
    assert!(answers.is_empty(), "{}", table.ladder());
    assert!(table.ike_sas(1).is_empty());
}

/// How many SAs the second host sends on.
fn senders(table: &Table) -> usize {
    table.hosts[1].sad.live().filter(|sa| sa.spec.direction == Direction::Out).count()
}

#[test]
fn where_traffic_has_another_way_the_end_that_answers_waits_before_it_sends_on_ours() {
    for (carried, optional) in [(false, false), (true, false), (true, true)] {
        let mut table = Table::new(&plain());
        if optional {
            table.let_pass(1);
        } else if carried {
            table.hosts[1].sad.be_carried();
        }
        table.initiate(0);
        let answer = table.until(|sent| sent.answers(1, AUTH));
        assert_eq!(senders(&table), usize::from(!carried), "the peer has no SA yet");
        table.deliver(&answer);
        table.settle();
        table.pass(Duration::from_millis(900));
        assert_eq!(senders(&table), usize::from(!carried));
        table.pass(Duration::from_millis(200));
        assert_eq!(senders(&table), 1, "not for long: the peer may have lost that SA");
    }
}
