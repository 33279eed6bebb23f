//! Whose commits may come into force: those that carry a good signature of an allowed signer.
//!
//! The `git` program judges, with ssh's allowed signers or a GPG keyring that the operator keeps.

use std::path::PathBuf;

use git2::Oid;
use model::{CommitId, Reason};

use super::GitSource;

const SSH: &[u8] = b"-----BEGIN SSH SIGNATURE-----";
const PGP: [&[u8]; 2] = [b"-----BEGIN PGP SIGNATURE-----", b"-----BEGIN PGP MESSAGE-----"];

/// Who may sign. A commit needs one good signature, of either kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// A file as ssh-keygen(1) describes under ALLOWED SIGNERS; none: no ssh signature counts.
    pub ssh_allowed_signers: Option<PathBuf>,
    /// A GnuPG home whose public keys are the allowed signers; none: no GPG signature counts.
    pub gpg_home: Option<PathBuf>,
}

/// A commit, with its signature as it stands in it.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) commit: Oid,
    pub(super) signature: Option<Vec<u8>>,
}

impl GitSource {
    /// The head, when it and every commit since the accepted one, along first parents, is signed by somebody who may.
    /// A merge answers for what it brings in. What a person accepted by name needs no signature.
    pub(super) async fn trusted(&self, head: Oid) -> Result<Oid, Reason> {
        let Some(trust) = &self.config.trust else { return Ok(head) };
        let unproven = self.with_mirror(move |mirror| mirror.unproven(head)).await;
        let unproven = unproven.and_then(|read| read.map_err(|error| error.message().to_owned()));
        for signed in unproven.map_err(|error| Reason::SourceUnavailable { error })? {
            self.verify(trust, &signed).await.map_err(|error| Reason::CommitUntrusted {
                commit: CommitId::new(signed.commit.to_string()),
                error,
            })?;
        }
        Ok(head)
    }

    async fn verify(&self, trust: &Trust, signed: &Signed) -> Result<(), String> {
        let signature = signed.signature.as_deref().ok_or("it is not signed")?;
        let mut command = self.contact.git();
        if signature.starts_with(SSH) {
            let signers = trust.ssh_allowed_signers.as_ref();
            let signers = signers.ok_or("it is signed with an ssh key, and no ssh signers are configured")?;
            command.arg("-c").arg(format!("gpg.ssh.allowedSignersFile={}", signers.display()));
        } else if PGP.iter().any(|begin| signature.starts_with(begin)) {
            let home = trust.gpg_home.as_ref();
            let home = home.ok_or("it is signed with GPG, and no GPG keys are configured")?;
            command.env("GNUPGHOME", home);
        } else {
            return Err("its signature is neither ssh's nor GPG's".to_owned());
        }
        command.args(["verify-commit", &signed.commit.to_string()]);
        self.contact.finish(command).await.map(drop).map_err(in_words)
    }
}

/// What ssh-keygen says first sounds as if all were well.
fn in_words(error: String) -> String {
    match error.split_once("No principal matched") {
        Some((signature, _)) => {
            let key = signature.split_whitespace().find(|word| word.starts_with("SHA256:"));
            format!("it is signed with a key of no allowed signer: {}", key.unwrap_or("unknown"))
        }
        None => error,
    }
}
