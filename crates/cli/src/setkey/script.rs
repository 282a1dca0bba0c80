//! Commands, checked against what the kernel has before anything changes, and what they come to.
//!
//! The commands are played on a copy of the kernel's tables. Out of that come stages: a stage ends where something is to be
//! printed. Of a stage only the difference is carried out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use coati_config::diag::Place;
use coati_config::setkey::FwdCopies;
use coati_config::setkey::model::{Action, Command, SaProtocol, SpdPolicy, SpdSelector};
use coati_spd::{Clash, Plan, Play};
use xfrm_sys::{Error, Policy, Protocol, Sa, SaFilter, SaId, SaQuery, Xfrm};

use super::manual::{kernel_id, kernel_protocol, kernel_sa};

/// What commands come to.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) stages: Vec<Stage>,
    /// Commands that fail without harm: there is nothing to do for them.
    pub(super) idle: Vec<Said>,
    /// Commands that must not be passed over: with one of them, nothing is carried out.
    pub(super) refused: Vec<Said>,
    /// The policies that there will be, if IPv6 neighbour discovery was not caught before and will be.
    pub(super) catches_neighbours: bool,
}

/// What is wrong with one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) place: Place,
    /// setkey's words.
    pub(super) result: String,
    /// What else there is to say.
    pub(super) detail: Option<String>,
}

/// What is done before something is printed, and what is printed then.
#[derive(Debug, Default)]
pub(super) struct Stage {
    /// SAs under new SPIs.
    pub(super) adds: Vec<(Place, Sa)>,
    pub(super) policies: Plan,
    /// All SAs of a protocol that go; only if none is added in this stage.
    pub(super) flushes: Vec<Protocol>,
    pub(super) deletes: Vec<SaQuery>,
    /// SAs in the place of others of the same SPI.
    pub(super) replaces: Vec<(Place, Sa)>,
    pub(super) show: Option<(Place, Show)>,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// `dump`; `None` is all protocols.
    Sas(Option<Protocol>),
    /// `dump tcp`, which finds none.
    NoSas,
    /// `spddump`.
    Policies,
    /// `get`.
    Sa(SaQuery),
}

impl Script {
    /// Plays `commands` on what the kernel has.
    ///
    /// # Errors
    /// The kernel cannot be asked what it has.
    pub(super) fn new(commands: &[Command], copies: FwdCopies, xfrm: &mut impl Xfrm) -> Result<Self, Error> {
        let touches = |wanted: fn(&Action) -> bool| commands.iter().any(|command| wanted(&command.action));
        let sas = match touches(about_sas) {
            true => xfrm.dump_sas(&SaFilter::ALL)?,
            false => Vec::new(),
        };
        let policies = match touches(about_policies) {
            true => xfrm.dump_policies()?,
            false => Vec::new(),
        };
        let mut builder = Builder {
            script: Self::default(),
            stage: Stage::default(),
            table: SaTable::new(sas),
            policies: Play::new(&policies, copies),
        };
        for command in commands {
            builder.play(command);
        }
        builder.end_stage(None);
        let mut script = builder.script;
        script.catches_neighbours = passes(policies.iter()) && !passes(builder.policies.policies());
        Ok(script)
    }
}

fn passes<'a>(policies: impl Iterator<Item = &'a Policy>) -> bool {
    coati_spd::neighbour_discovery_passes(&policies.collect::<Vec<_>>())
}

/// What Linux lacks for one command, kernel or not; `None` if nothing.
pub(super) fn unsupported(command: &Command) -> Option<Said> {
    let labelled = "security labels (`-ctx`) are not supported".to_owned();
    let why = match &command.action {
        Action::Add(sa) => kernel_sa(sa).err()?,
        Action::SpdAdd(SpdPolicy { selector, .. })
        | Action::SpdUpdate(SpdPolicy { selector, .. })
        | Action::SpdDelete(selector) => selector.context.is_some().then_some(labelled)?,
        Action::Flush(_)
        | Action::Dump(_)
        | Action::SpdFlush
        | Action::SpdDump
        | Action::Get(_)
        | Action::Delete(_)
        | Action::DeleteAll { .. } => return None,
    };
    Some(said(&command.place, "Operation not supported", Some(why)))
}

fn said(place: &Place, result: &str, detail: Option<String>) -> Said {
    Said { place: place.clone(), result: result.to_owned(), detail }
}

const fn about_sas(action: &Action) -> bool {
    matches!(
        action,
        Action::Flush(_) | Action::Add(_) | Action::Get(_) | Action::Delete(_) | Action::DeleteAll { .. }
    )
}

const fn about_policies(action: &Action) -> bool {
    matches!(action, Action::SpdFlush | Action::SpdAdd(_) | Action::SpdUpdate(_) | Action::SpdDelete(_))
}

struct Builder {
    script: Script,
    stage: Stage,
    table: SaTable,
    policies: Play,
}

impl Builder {
    fn play(&mut self, command: &Command) {
        if let Some(said) = unsupported(command) {
            self.script.refused.push(said);
            return;
        }
        let place = &command.place;
        match &command.action {
            Action::Flush(None) => self.flush(Protocol::IPSEC_ANY),
            Action::Flush(Some(protocol)) => {
                if let Some(protocol) = kernel_protocol(*protocol) {
                    self.flush(protocol);
                }
            }
            Action::Add(written) => {
                // What Linux lacks was found before.
                if let Ok(sa) = kernel_sa(written) {
                    self.add(place, sa);
                }
            }
            Action::Delete(written) => {
                let found = kernel_id(written).is_some_and(|id| self.table.delete(id));
                if !found {
                    self.idle(place, "No entry", None);
                }
            }
            Action::DeleteAll { src, dst, protocol } => self.delete_all(*src, *dst, *protocol),
            Action::Get(written) => match kernel_id(written).and_then(|id| self.table.query(id)) {
                Some(query) => self.end_stage(Some((place.clone(), Show::Sa(query)))),
                None => self.idle(place, "No entry", None),
            },
            Action::Dump(protocol) => {
                let show = match protocol {
                    None => Show::Sas(None),
                    Some(protocol) => kernel_protocol(*protocol).map_or(Show::NoSas, |p| Show::Sas(Some(p))),
                };
                self.end_stage(Some((place.clone(), show)));
            }
            Action::SpdFlush => self.policies.flush(),
            Action::SpdDump => self.end_stage(Some((place.clone(), Show::Policies))),
            Action::SpdAdd(policy) => self.add_policy(place, policy),
            Action::SpdUpdate(policy) => self.policies.update(policy),
            Action::SpdDelete(selector) => self.delete_policy(place, selector),
        }
    }

    fn idle(&mut self, place: &Place, result: &str, detail: Option<String>) {
        self.script.idle.push(said(place, result, detail));
    }

    fn flush(&mut self, protocol: Protocol) {
        self.table.flush(protocol);
        if !self.stage.flushes.contains(&protocol) {
            self.stage.flushes.push(protocol);
        }
    }

    fn add(&mut self, place: &Place, sa: Sa) {
        match self.table.add(place, sa) {
            Added::New => {}
            Added::Same => self.idle(place, "File exists", Some("the same SA is there already".to_owned())),
            Added::Other => {
                let detail = "another SA with this destination, SPI and protocol is there; delete it first";
                self.script.refused.push(said(place, "File exists", Some(detail.to_owned())));
            }
        }
    }

    fn delete_all(&mut self, source: IpAddr, destination: IpAddr, protocol: SaProtocol) {
        if let Some(protocol) = kernel_protocol(protocol) {
            self.table.delete_all(source, destination, protocol);
        }
    }

    fn add_policy(&mut self, place: &Place, policy: &SpdPolicy) {
        let Err(Clash { same, place: first }) = self.policies.add(policy) else { return };
        let there = first.map_or_else(|| "in the kernel".to_owned(), |first| format!("at {first}"));
        if same {
            self.idle(place, "File exists", Some(format!("the same policy is there already ({there})")));
        } else {
            let detail = format!(
                "another policy for the same traffic is there already ({there}); write `spdupdate` to replace it"
            );
            self.script.refused.push(said(place, "File exists", Some(detail)));
        }
    }

    fn delete_policy(&mut self, place: &Place, selector: &SpdSelector) {
        if !self.policies.delete(selector) {
            self.idle(place, "No entry", None);
        }
    }

    /// Ends a stage with what is printed, or, at the end of the commands, with nothing.
    fn end_stage(&mut self, show: Option<(Place, Show)>) {
        let mut stage = std::mem::take(&mut self.stage);
        self.table.advance(&mut stage);
        stage.policies = self.policies.advance();
        stage.show = show;
        self.script.stages.push(stage);
    }
}

/// The SAs there are after the commands so far, and those there were at the beginning of the stage.
struct SaTable {
    before: BTreeMap<Key, Sa>,
    now: BTreeMap<Key, (Sa, Option<Place>)>,
}

/// Destination, SPI, protocol and mark. The larval states of acquires are left out: they have no SPI.
type Key = (SaId, (u32, u32));

enum Added {
    New,
    Same,
    Other,
}

impl SaTable {
    fn new(sas: Vec<Sa>) -> Self {
        let with_spi = sas.into_iter().filter(|sa| sa.id.spi != 0);
        let before: BTreeMap<Key, Sa> = with_spi.map(|sa| (key_of(&sa), sa)).collect();
        let now = before.iter().map(|(key, sa)| (*key, (sa.clone(), None))).collect();
        Self { before, now }
    }

    fn add(&mut self, place: &Place, sa: Sa) -> Added {
        match self.now.get(&key_of(&sa)) {
            Some((there, _)) if is_same(there, &sa) => Added::Same,
            Some(_) => Added::Other,
            None => {
                self.now.insert(key_of(&sa), (sa, Some(place.clone())));
                Added::New
            }
        }
    }

    fn query(&self, id: SaId) -> Option<SaQuery> {
        self.now.get(&(id, (0, 0))).map(|(sa, _)| query_of(sa))
    }

    fn delete(&mut self, id: SaId) -> bool {
        self.now.remove(&(id, (0, 0))).is_some()
    }

    fn delete_all(&mut self, source: IpAddr, destination: IpAddr, protocol: Protocol) {
        self.now.retain(|(id, _), (sa, _)| {
            (sa.source, id.destination, id.protocol) != (source, destination, protocol)
        });
    }

    fn flush(&mut self, protocol: Protocol) {
        self.now.retain(|(id, _), _| !covers(protocol, id.protocol));
    }

    /// Fills in what a stage does to SAs, and begins the next.
    fn advance(&mut self, stage: &mut Stage) {
        for (key, (sa, place)) in &mut self.now {
            if let Some(place) = place.take() {
                let list = if self.before.contains_key(key) { &mut stage.replaces } else { &mut stage.adds };
                list.push((place, sa.clone()));
            }
        }
        // The order of the commands: the kernel sends on the SA that was added last.
        stage.adds.sort_by(|(one, _), (other, _)| one.cmp(other));
        stage.replaces.sort_by(|(one, _), (other, _)| one.cmp(other));
        // A flush would take the new ones with it.
        if !stage.adds.is_empty() || !stage.replaces.is_empty() {
            stage.flushes.clear();
        }
        let gone = self.before.iter().filter(|(key, _)| !self.now.contains_key(key));
        let is_flushed = |id: SaId| stage.flushes.iter().any(|flushed| covers(*flushed, id.protocol));
        stage.deletes = gone.filter(|(key, _)| !is_flushed(key.0)).map(|(_, sa)| query_of(sa)).collect();
        self.before = self.now.iter().map(|(key, (sa, _))| (*key, sa.clone())).collect();
    }
}

fn key_of(sa: &Sa) -> Key {
    (sa.id, sa.mark.map_or((0, 0), |mark| (mark.value, mark.mask)))
}

fn query_of(sa: &Sa) -> SaQuery {
    SaQuery { mark: sa.mark, ..SaQuery::from(sa.id) }
}

fn covers(flushed: Protocol, protocol: Protocol) -> bool {
    flushed == Protocol::IPSEC_ANY || flushed == protocol
}

/// Whether what is there does what is asked for: it may have carried traffic since.
fn is_same(there: &Sa, asked: &Sa) -> bool {
    (there.source, there.mode, there.reqid, there.encap)
        == (asked.source, asked.mode, asked.reqid, asked.encap)
        && (&there.aead, &there.encryption, &there.authentication)
            == (&asked.aead, &asked.encryption, &asked.authentication)
}
