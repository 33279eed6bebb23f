//! A repository that uses the whole format.

use crate::{answer, files};

const ENVIRONMENT: &str = include_str!("whole/environment.toml");
const RELEASE: &str = include_str!("whole/release.toml");
const PATCH: &str = include_str!("whole/session-fix.patch");

const STAGING: &str = "packages = [\"gitlab-ee\"]\n[[role]]\nname = \"web\"\nhosts = [\"staging-01\"]\n";

#[test]
fn the_whole_format_is_valid() {
    let said = answer(&files(&[
        ("environments/e/environment.toml", ENVIRONMENT),
        ("environments/e/release.toml", RELEASE),
        ("environments/staging/environment.toml", STAGING),
        ("environments/staging/release.toml", "[main]\nversion = \"16.4.2-ee.0\"\n"),
        ("patches/16.4.2/session-fix.patch", PATCH),
    ]));
    assert_eq!(said, "valid");
}

#[test]
fn eleven_mistakes_in_one_file_are_shown_at_once_each_in_its_place() {
    let text = r#"requirez = ">=0.1"
mode = "rapport"
packages = ["shop"]

[budget]
max_unavailable = "ten percent"

[[load_balancer]]
name     = "fe"
nodes    = ["fe-[02:01]"]
backends = { web = { on_timeout = "cut" } }

[[role]]
name     = "web"
hosts    = ["web-[01:04]", "-web-05"]
backends = ["wbe"]
services = [{ unit = "shop", name = "shop" }]
health   = { http = "shop:8080" }

[[role]]
name  = "api"
hosts = ["web-04"]
prepare = [["touch", "/ü", "{hots}"]]
"#;
    let said = answer(&files(&[
        ("environments/e/environment.toml", text),
        ("environments/e/release.toml", "[main]\nversion = \"1\"\n"),
    ]));
    let http = "an address that begins with `http://` or `https://`, without a password in it";
    let host = "a host name: letters, digits, `.`, `_` and `-`, beginning with a letter or a digit";
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "environment.toml:1:1: unknown key `requirez`; did you mean `requires`?",
            "environment.toml:2:8: `rapport` is not `reconcile` or `report`; did you mean `report`?",
            "environment.toml:6:19: `ten percent` is neither a number nor a percentage like `10%`",
            "environment.toml:10:13: host range `fe-[02:01]` counts down",
            "environment.toml:11:20: missing key `drain`",
            format!("environment.toml:15:28: `-web-05` is not {host}").as_str(),
            "environment.toml:16:13: no load balancer has a backend `wbe`; did you mean `web`?",
            "environment.toml:17:30: a service takes only one of `unit` or `name`",
            format!("environment.toml:18:21: `shop:8080` is not {http}").as_str(),
            "environment.toml:22:10: host `web-04` is already in role `web`",
            "environment.toml:23:12: unknown placeholder `{hots}`; here can stand `{host}`, `{version}` or \
             `{environment}`; did you mean `{host}`?",
        ]
    );
}
