//! What the script does to hosts and to the network.

use std::net::IpAddr;

use ike_proto::endpoint::Command;
use ike_proto::policy::sad::Direction;

use super::World;
use crate::sad::Notice;
use crate::script::Action;
use crate::trace::Sight;

impl World {
    pub(super) fn perform(&mut self, action: Action) {
        self.trace.see(self.now, Sight::Done(action.host(), format!("{action:?}")));
        match action {
            Action::Initiate { host, policy } => {
                self.command(host, policy, |local, remote| Command::Initiate { local, remote });
            }
            Action::Reauthenticate { host, policy } => {
                self.command(host, policy, |local, remote| Command::Reauthenticate { local, remote });
            }
            Action::Delete { host, policy } => {
                self.command(host, policy, |local, remote| Command::Delete { local, remote });
            }
            Action::Shutdown(host) => {
                let done = self.hosts[host].command(self.now, Command::Shutdown);
                self.judge(host, None, done);
                self.settle(host);
            }
            Action::Reboot(host) => {
                self.hosts[host].reboot(self.now);
                self.settle(host);
                self.compare_later(host);
            }
            Action::Relaunch(host) => {
                self.hosts[host].relaunch(self.now);
                self.settle(host);
                self.compare_later(host);
            }
            Action::ClockJump { host, by } => {
                self.hosts[host].jump(by);
                self.arm(host);
            }
            Action::Cut { one, other, cut } => self.network.cut(one, other, cut),
            Action::Jam(host) => {
                let outbound = self.hosts[host].sad.live().filter(|sa| sa.spec.direction == Direction::Out);
                self.jammed.extend(outbound.map(|sa| (host, sa.spec.key())));
            }
            Action::Weather(conditions) => self.weather = conditions,
            Action::RestartNat(number) => self.network.restart(number),
            Action::Run { flow, running } => self.flows[flow].running = running,
            Action::Expire { host, policy, hard } => {
                let selector = self.hosts[host].spec.policies[policy].selector;
                self.hosts[host].sad.expire(&selector, hard);
                self.forward_notices(host);
            }
            Action::Deafen { host, deaf } => self.hosts[host].deaf = deaf,
            Action::Policies { host, known } => {
                self.hosts[host].tell_policies(self.now, known);
                self.settle(host);
            }
            Action::LoseNotices(host) => {
                self.hosts[host].hear(self.now, Notice::Lost);
                self.settle(host);
            }
        }
    }

    fn command(&mut self, host: usize, policy: usize, make: impl FnOnce(IpAddr, IpAddr) -> Command) {
        let ends = self.hosts[host].spec.policies[policy].endpoints();
        let Some((local, remote)) = ends else { return };
        let done = self.hosts[host].command(self.now, make(local, remote));
        if let Err(why) = done {
            self.trace.see(self.now, Sight::Done(Some(host), format!("refused: {why}")));
        }
        self.settle(host);
    }
}
