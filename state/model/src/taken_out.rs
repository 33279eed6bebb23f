//! What we took out of rotation.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{HostName, RowId};
use crate::observed::Admin;
use crate::step::{Action, Step};

/// Rows of hosts with our mark that we took out of rotation since, and how. The mark's list may still call them somebody else's,
/// who has given them back meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TakenOut(BTreeMap<HostName, BTreeMap<RowId, TakenOutBy>>);

/// How we took a row out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TakenOutBy {
    /// Drained, on a host with our mark.
    Drain,
    /// Put into maintenance, on a host with our mark.
    Maint,
    /// Drained, on a host that is declared out: nobody of us ever put it into maintenance.
    Retire,
}

impl TakenOut {
    /// Whether a row of a host that is out as `admin` may be so by us. Our maintenance ends in a drain.
    pub fn has(&self, host: &HostName, row: &RowId, admin: Admin) -> bool {
        matches!(
            (admin, self.how(host, row)),
            (Admin::Drain, Some(_)) | (Admin::Maint, Some(TakenOutBy::Maint))
        )
    }

    /// Whether a row of a host that is out as `admin` was put there by somebody else after us.
    pub fn is_others(&self, host: &HostName, row: &RowId, admin: Admin) -> bool {
        admin == Admin::Maint && self.how(host, row) == Some(TakenOutBy::Retire)
    }

    /// Whether we took any row of a host out.
    pub fn has_any(&self, host: &HostName) -> bool {
        self.0.get(host).is_some_and(|rows| !rows.is_empty())
    }

    /// How we took a row out; none: we did not.
    pub fn how(&self, host: &HostName, row: &RowId) -> Option<TakenOutBy> {
        self.0.get(host)?.get(row).copied()
    }

    /// Takes in a step that begins: from the intent on, whatever becomes of it, a node may have done it.
    pub(crate) fn begins(&mut self, step: &Step) {
        let how = match step.action {
            Action::Drain { .. } => TakenOutBy::Drain,
            Action::Retire { .. } => TakenOutBy::Retire,
            Action::Maint { .. } => TakenOutBy::Maint,
            _ => return,
        };
        let rows = step.action.rows().into_iter().flatten().map(|row| (row.clone(), how));
        self.0.entry(step.host.clone()).or_default().extend(rows);
    }

    /// Rows of a host are out by us no more: they serve again, or are somebody else's.
    pub(crate) fn ends(&mut self, host: &HostName, rows: &BTreeSet<RowId>) {
        if let Some(out) = self.0.get_mut(host) {
            out.retain(|row, _| !rows.contains(row));
        }
    }

    /// A host is let go, or begun anew.
    pub(crate) fn forget(&mut self, host: &HostName) {
        self.0.remove(host);
    }
}

impl FromIterator<(HostName, BTreeMap<RowId, TakenOutBy>)> for TakenOut {
    fn from_iter<I: IntoIterator<Item = (HostName, BTreeMap<RowId, TakenOutBy>)>>(rows: I) -> Self {
        Self(rows.into_iter().collect())
    }
}
