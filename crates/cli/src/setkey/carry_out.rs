//! Carries a script out, in an order in which what can still be taken back comes first.
//!
//! Of each stage: SAs under new SPIs, then policies (what closes before what opens), then SAs that go. If the kernel refuses
//! one of these, everything before it is taken back, stages before it included. An SA that is gone stays gone: to install its
//! key again could send two packets under one sequence number.

use std::io;

use coati_config::diag::Place;
use coati_spd::Plan;
use xfrm_sys::{Errno, Error, Protocol, Request, Sa, SaQuery, Xfrm};

use super::Terminal;
use super::dump_sa::sas_text;
use super::dump_spd::dump_policies;
use super::options::Options;
use super::script::{Script, Show, Stage};
use crate::setkey::dump_sas;

/// Requests of one system call.
const BATCH: usize = 64;

/// A request that the kernel refused.
pub(super) struct Refused {
    /// The command it was made for, if for one alone.
    pub(super) place: Option<Place>,
    pub(super) error: Error,
    /// What could not be taken back.
    pub(super) stuck: Vec<Error>,
    /// SAs had been deleted already.
    pub(super) lost_sas: bool,
}

/// Either the kernel, or whoever reads what is printed.
pub(super) enum Failure {
    Kernel(Box<Refused>),
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

enum Done {
    AddedSa(SaQuery),
    Policies(Plan),
}

/// Carries all stages out, and prints what they print.
///
/// # Errors
/// The first refusal; what was done is taken back as far as possible.
pub(super) fn carry_out(
    script: &Script,
    options: &Options,
    xfrm: &mut impl Xfrm,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let mut runner = Runner { xfrm, done: Vec::new(), stuck: Vec::new(), lost_sas: false };
    for stage in &script.stages {
        if options.verbose {
            describe(stage, terminal)?;
        }
        if let Err((place, error)) = runner.change(stage) {
            return Err(Failure::Kernel(Box::new(runner.take_back(place, error))));
        }
        if let Some((place, show)) = &stage.show {
            match show_text(*show, options, runner.xfrm, terminal) {
                Ok(text) => terminal.out.write_all(text.as_bytes())?,
                Err(error) => {
                    return Err(Failure::Kernel(Box::new(runner.take_back(Some(place.clone()), error))));
                }
            }
        }
    }
    Ok(())
}

fn show_text(
    show: Show,
    options: &Options,
    xfrm: &mut impl Xfrm,
    terminal: &Terminal<'_>,
) -> Result<zeroize::Zeroizing<String>, Error> {
    let scene = terminal.scene();
    match show {
        Show::Sas(protocol) => dump_sas(xfrm, protocol, &scene, options.ports),
        Show::NoSas => Ok(sas_text(&[], &scene, options.ports)),
        Show::Policies => dump_policies(xfrm, options.sockets, &scene, options.ports).map(Into::into),
        Show::Sa(query) => Ok(sas_text(&[xfrm.get_sa(&query)?], &scene, options.ports)),
    }
}

/// Says what will be done; keys are not shown.
fn describe(stage: &Stage, terminal: &mut Terminal<'_>) -> io::Result<()> {
    let mut say = |line: String| writeln!(terminal.err, "setkey: {line}");
    for (_, sa) in &stage.adds {
        say(format!("add SA {sa}"))?;
    }
    for planned in stage.policies.changes() {
        let verb = match planned.kind {
            coati_spd::Kind::Added => "add",
            coati_spd::Kind::Changed => "change",
            coati_spd::Kind::Deleted => "delete",
        };
        say(format!("{verb} policy {}", planned.policy))?;
    }
    for protocol in &stage.flushes {
        match *protocol {
            Protocol::IPSEC_ANY => say("flush SAs".to_owned())?,
            protocol => say(format!("flush SAs of {protocol}"))?,
        }
    }
    for query in &stage.deletes {
        say(format!("delete SA {}", query.id))?;
    }
    for (_, sa) in &stage.replaces {
        say(format!("replace SA {sa}"))?;
    }
    Ok(())
}

struct Runner<'a, X> {
    xfrm: &'a mut X,
    done: Vec<Done>,
    stuck: Vec<Error>,
    lost_sas: bool,
}

/// Which command was refused, and how.
type Refusal = (Option<Place>, Error);

impl<X: Xfrm> Runner<'_, X> {
    fn change(&mut self, stage: &Stage) -> Result<(), Refusal> {
        for (place, sa) in &stage.replaces {
            self.try_out(sa).map_err(|error| (Some(place.clone()), error))?;
        }
        self.add(&stage.adds)?;
        if let Err(failed) = stage.policies.apply(self.xfrm) {
            // The plan has taken itself back.
            self.stuck.extend(failed.stuck);
            return Err((failed.place, failed.error));
        }
        self.done.push(Done::Policies(stage.policies.inverse()));
        self.delete(stage)?;
        for (place, sa) in &stage.replaces {
            self.delete_one(&SaQuery::from(sa.id)).map_err(|error| (Some(place.clone()), error))?;
            self.xfrm.add_sa(sa).map_err(|error| (Some(place.clone()), error))?;
            self.done.push(Done::AddedSa(SaQuery::from(sa.id)));
        }
        Ok(())
    }

    fn add(&mut self, adds: &[(Place, Sa)]) -> Result<(), Refusal> {
        for batch in adds.chunks(BATCH) {
            let requests: Vec<Request> =
                batch.iter().map(|(_, sa)| Request::AddSa(Box::new(sa.clone()))).collect();
            let mut refused = None;
            for ((place, sa), result) in batch.iter().zip(self.xfrm.batch(&requests)) {
                let uncertain = result.as_ref().is_err_and(Error::is_uncertain);
                if result.is_ok() || uncertain {
                    self.done.push(Done::AddedSa(SaQuery::from(sa.id)));
                }
                if let Err(error) = result {
                    refused.get_or_insert((Some(place.clone()), error));
                }
            }
            if let Some(refused) = refused {
                return Err(refused);
            }
        }
        Ok(())
    }

    fn delete(&mut self, stage: &Stage) -> Result<(), Refusal> {
        for protocol in &stage.flushes {
            self.lost_sas = true;
            self.xfrm.flush_sas(*protocol).map_err(|error| (None, error))?;
        }
        for batch in stage.deletes.chunks(BATCH) {
            self.lost_sas = true;
            let requests: Vec<Request> = batch.iter().map(|query| Request::DeleteSa(*query)).collect();
            for result in self.xfrm.batch(&requests) {
                gone(result).map_err(|error| (None, error))?;
            }
        }
        Ok(())
    }

    fn delete_one(&mut self, query: &SaQuery) -> Result<(), Error> {
        self.lost_sas = true;
        gone(self.xfrm.delete_sa(query))
    }

    /// Whether the kernel would take an SA: a copy that no packet can meet comes and goes.
    fn try_out(&mut self, sa: &Sa) -> Result<(), Error> {
        let nowhere = match sa.source.is_ipv4() {
            true => std::net::Ipv4Addr::LOCALHOST.into(),
            false => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        let mut copy = sa.clone();
        (copy.source, copy.id.destination) = (nowhere, nowhere);
        match self.xfrm.add_sa(&copy) {
            Ok(()) => self.xfrm.delete_sa(&SaQuery::from(copy.id)),
            // Somebody has one there: then it was taken once.
            Err(error) if error.is_exists() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes back what was done, the last first.
    fn take_back(&mut self, place: Option<Place>, error: Error) -> Refused {
        let mut stuck = std::mem::take(&mut self.stuck);
        for done in std::mem::take(&mut self.done).into_iter().rev() {
            match done {
                Done::AddedSa(query) => stuck.extend(gone(self.xfrm.delete_sa(&query)).err()),
                Done::Policies(plan) => {
                    if let Err(failed) = plan.apply(self.xfrm) {
                        stuck.push(failed.error);
                        stuck.extend(failed.stuck);
                    }
                }
            }
        }
        Refused { place, error, stuck, lost_sas: self.lost_sas }
    }
}

/// What was to go may be gone already.
fn gone(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_missing() => Ok(()),
        result => result,
    }
}

impl Refused {
    /// setkey's words for it.
    pub(super) fn result(&self) -> String {
        match self.error.errno() {
            Some(Errno::ESRCH | Errno::ENOENT) => "No entry".to_owned(),
            Some(errno) => errno.desc().to_owned(),
            None => self.error.to_string(),
        }
    }

    /// What happened, and what is left of it.
    pub(super) fn detail(&self) -> String {
        let left = match (self.stuck.as_slice(), self.lost_sas) {
            ([], false) => "nothing was changed".to_owned(),
            ([], true) => "all else is as it was, but SAs that were to go are gone".to_owned(),
            ([first, rest @ ..], _) => {
                let more =
                    if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
                format!("not everything could be taken back: {first}{more}")
            }
        };
        format!("{}; {left}", self.error)
    }
}
