//! `veto`, `hold`, `out`: what people take responsibility for, and its end.

use model::{HoldScope, HostName, OutTarget};
use store::edit::Edit;

use super::{Intent, Place, write};
use crate::args::{CommandLine, Hold, Out, Veto};
use crate::error::CliError;
use crate::exit::Exit;

pub(crate) async fn veto(line: &CommandLine, args: &Veto) -> Result<Exit, CliError> {
    let place = Place::open(line, &args.writing)?;
    let (environment, version, reason) =
        (&args.environment, args.version.clone(), args.writing.reason.clone());
    let intent = if args.undo {
        let subject = format!("{environment}: lift the veto of {version}");
        Intent::new(environment, vec![Edit::Unveto { version }], subject)
    } else {
        let subject = format!("{environment}: veto {version}");
        Intent::new(environment, vec![Edit::Veto { version, reason }], subject)
    };
    write(line, &args.writing, &place, intent).await
}

pub(crate) async fn hold(line: &CommandLine, args: &Hold) -> Result<Exit, CliError> {
    let place = Place::open(line, &args.writing)?;
    let (environment, scope) = (&args.environment, HoldScope::from(args.scope));
    let what = if scope == HoldScope::All { "everything".to_owned() } else { scope.to_string() };
    let intent = if args.undo {
        let subject = format!("{environment}: lift the hold of {what}");
        Intent::new(environment, vec![Edit::Unhold { scope }], subject)
    } else {
        let reason = args.writing.reason.clone();
        let subject = format!("{environment}: hold {what}{}", until(args.until));
        Intent::new(environment, vec![Edit::Hold { scope, reason, until: args.until }], subject)
    };
    write(line, &args.writing, &place, intent).await
}

pub(crate) async fn out(line: &CommandLine, args: &Out) -> Result<Exit, CliError> {
    let place = Place::open(line, &args.writing)?;
    let environment = &args.environment;
    let (name, what) = match (&args.host, &args.node) {
        (Some(host), _) => (host, OutTarget::Host(HostName::new(host))),
        (None, Some(node)) => (node, OutTarget::LoadBalancerNode(HostName::new(node))),
        (None, None) => return Err(CliError::new(Exit::Usage, "name a HOST, or a --node")),
    };
    let intent = if args.undo {
        Intent::new(environment, vec![Edit::In { what }], format!("{environment}: take {name} in again"))
    } else {
        let reason = args.writing.reason.clone();
        let subject = format!("{environment}: take {name} out{}", until(args.until));
        Intent::new(environment, vec![Edit::Out { what, reason, until: args.until }], subject)
    };
    write(line, &args.writing, &place, intent).await
}

fn until(until: Option<jiff::Timestamp>) -> String {
    until.map(|until| format!(" until {until:.0}")).unwrap_or_default()
}
