//! The IKE SAs of an endpoint by their numbers. Each lies in a piece of memory of its own and stays there: an event finds
//! it by a small tree and moves a pointer, however many there are.

use std::collections::BTreeMap;

use crate::ids::SaId;
use crate::ike_sa::IkeSa;

/// All SAs. One that is taken out to be worked on is not there until it is put back.
#[derive(Default)]
pub(super) struct Table(BTreeMap<SaId, Option<Box<IkeSa>>>);

impl Table {
    pub(super) fn get(&self, id: &SaId) -> Option<&IkeSa> {
        self.0.get(id)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: &SaId) -> Option<&mut IkeSa> {
        self.0.get_mut(id)?.as_deref_mut()
    }

    pub(super) fn contains_key(&self, id: &SaId) -> bool {
        self.get(id).is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SaId, &IkeSa)> {
        self.0.iter().filter_map(|(id, sa)| Some((*id, sa.as_deref()?)))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &IkeSa> {
        self.iter().map(|(_, sa)| sa)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = SaId> {
        self.iter().map(|(id, _)| id)
    }

    /// Takes one out; its place is kept until it is put back or forgotten.
    pub(super) fn take(&mut self, id: SaId) -> Option<Box<IkeSa>> {
        self.0.get_mut(&id)?.take()
    }

    /// Puts one in, or back.
    pub(super) fn put(&mut self, id: SaId, sa: Box<IkeSa>) {
        self.0.insert(id, Some(sa));
    }

    /// Gives up the place of one that was taken out.
    pub(super) fn forget(&mut self, id: SaId) {
        self.0.remove(&id);
    }
}
