//! A repository that uses the whole format.

use crate::{answer, files};

const ENVIRONMENT: &str = include_str!("whole/environment.toml");
const RELEASE: &str = include_str!("whole/release.toml");

const STAGING: &str = "packages = [\"gitlab-ee\"]\n[[role]]\nname = \"web\"\nhosts = [\"staging-01\"]\n";

#[test]
fn the_whole_format_is_understood_and_only_what_is_not_acted_on_yet_is_refused() {
    let said = answer(&files(&[
        ("environments/e/environment.toml", ENVIRONMENT),
        ("environments/e/release.toml", RELEASE),
        ("environments/staging/environment.toml", STAGING),
        ("environments/staging/release.toml", "[main]\nversion = \"16.4.2-ee.0\"\n"),
    ]));
    assert_eq!(
        said,
        "\
environment.toml:8:1: not supported yet: `budget.emergency`
environment.toml:43:2: not supported yet: `[migrations]`
environment.toml:49:2: not supported yet: `[config_agent]`
environment.toml:55:8: not supported yet: `[gates.alerts]`
environment.toml:60:8: not supported yet: `[gates.error-rate]`
environment.toml:68:9: not supported yet: `[checks.qa]`
environment.toml:73:2: not supported yet: `[stage_defaults]`
environment.toml:78:3: not supported yet: `[[stage]]`
environment.toml:102:2: not supported yet: `[promotion]`
environment.toml:105:3: not supported yet: `[[follow]]`
environment.toml:109:3: not supported yet: `[[freeze]]`
environment.toml:116:2: not supported yet: `[patch_roots]`
release.toml:4:2: not supported yet: `[canary]`
release.toml:9:2: not supported yet: `[emergency]`
release.toml:13:3: not supported yet: `[[veto]]`
release.toml:17:3: not supported yet: `[[hold]]`
release.toml:22:3: not supported yet: `[[out]]`
release.toml:27:3: not supported yet: `[[patch]]`
release.toml:36:2: not supported yet: `[allow]`"
    );
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
