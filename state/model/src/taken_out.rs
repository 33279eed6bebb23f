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
pub struct TakenOut(BTreeMap<HostName, BTreeMap<RowId, Admin>>);

impl TakenOut {
    /// Whether a row of a host that is out as `admin` may be so by us. Our maintenance ends in a drain.
    pub fn has(&self, host: &HostName, row: &RowId, admin: Admin) -> bool {
        matches!((admin, self.how(host, row)), (Admin::Drain, Some(_)) | (Admin::Maint, Some(Admin::Maint)))
    }

    /// How we took a row out; none: we did not.
    pub fn how(&self, host: &HostName, row: &RowId) -> Option<Admin> {
        self.0.get(host)?.get(row).copied()
    }

    /// Takes in a step that begins: from the intent on, whatever becomes of it, a node may have done it.
    pub(crate) fn begins(&mut self, step: &Step) {
        let admin = match step.action {
            Action::Drain { .. } | Action::Retire { .. } => Admin::Drain,
            Action::Maint { .. } => Admin::Maint,
            _ => return,
        };
        let rows = step.action.rows().into_iter().flatten().map(|row| (row.clone(), admin));
        self.0.entry(step.host.clone()).or_default().extend(rows);
    }

    /// Rows of a host are in rotation again.
    pub(crate) fn serve(&mut self, host: &HostName, rows: &BTreeSet<RowId>) {
        if let Some(out) = self.0.get_mut(host) {
            out.retain(|row, _| !rows.contains(row));
        }
    }

    /// A host is let go, or begun anew.
    pub(crate) fn forget(&mut self, host: &HostName) {
        self.0.remove(host);
    }
}

impl FromIterator<(HostName, BTreeMap<RowId, Admin>)> for TakenOut {
    fn from_iter<I: IntoIterator<Item = (HostName, BTreeMap<RowId, Admin>)>>(rows: I) -> Self {
        Self(rows.into_iter().collect())
    }
}
