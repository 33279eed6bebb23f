//! The configuration of the lab's load balancers, and their runtime socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::error::LabError;

/// The runtime socket on a load balancer.
pub const ADMIN_SOCKET: &str = "/run/haproxy/admin.sock";

/// The master process's socket, as Debian's unit sets it.
pub const MASTER_SOCKET: &str = "/run/haproxy-master.sock";

/// No mercy from the load balancer: a request that meets a stopped server fails, and is seen to fail.
/// The only courtesy is `idle-close-on-response`: a reload of HAProxy itself must not look like a failure
/// of the deployment.
const HEAD: &str = "global
    user haproxy
    group haproxy
    maxconn 4000
    stats socket /run/haproxy/admin.sock mode 600 level admin expose-fd listeners
    stats timeout 30s

defaults
    mode http
    option http-keep-alive
    option idle-close-on-response
    retries 0
    no option redispatch
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout queue 10s
    timeout http-keep-alive 60s
    timeout http-request 30s

frontend shop
    bind :80
    use_backend web_sticky if { path_beg /sticky }
";

/// One row of the load balancers.
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) canary: bool,
}

/// The whole configuration. A canary server is in the shared backend with weight 0, so that a reload of
/// HAProxy never gives it a share that nobody decided on, and alone in a backend of its own.
pub(crate) fn configuration(servers: &[Server]) -> String {
    let (canary, main): (Vec<&Server>, Vec<&Server>) = servers.iter().partition(|server| server.canary);
    let mut text = HEAD.to_owned();
    if !canary.is_empty() {
        text.push_str("    use_backend canary_web if { req.cook(canary) -m str true }\n");
    }
    text.push_str("    default_backend web\n");
    backend(&mut text, "web", "", &servers.iter().collect::<Vec<_>>(), |server| {
        if server.canary { " weight 0".to_owned() } else { String::new() }
    });
    backend(&mut text, "web_sticky", "    cookie SRV insert indirect nocache\n", &main, |server| {
        format!(" cookie {}", server.name)
    });
    if !canary.is_empty() {
        backend(&mut text, "canary_web", "", &canary, |_| String::new());
    }
    text
}

fn backend(text: &mut String, name: &str, extra: &str, servers: &[&Server], row: impl Fn(&Server) -> String) {
    text.push_str(&format!(
        "\nbackend {name}\n    balance roundrobin\n{extra}    option httpchk GET /-/readiness\n    \
         default-server check inter 2s weight 100\n"
    ));
    for server in servers {
        text.push_str(&format!("    server {} {}:8080{}\n", server.name, server.address, row(server)));
    }
}

/// Says `command` to the socket and reads the whole answer.
pub(crate) fn ask(socket: &Path, command: &str) -> Result<String, LabError> {
    let ask = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(format!("{command}\n").as_bytes())?;
        // The master's socket answers only once our side is closed.
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().map_err(LabError::io("ask HAProxy at", socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, canary: bool) -> Server {
        Server { name: name.to_owned(), address: "10.77.0.13".to_owned(), canary }
    }

    #[test]
    fn every_web_host_is_a_server_of_both_backends() {
        let text = configuration(&[server("web-01", false)]);
        assert!(text.contains("\n    server web-01 10.77.0.13:8080\n"), "{text}");
        assert!(text.contains("\n    server web-01 10.77.0.13:8080 cookie web-01\n"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn a_canary_begins_without_a_share() {
        let text = configuration(&[server("web-01", false), server("web-cny-01", true)]);
        let (shared, own) = text.split_once("\nbackend canary_web\n").expect("a backend of its own");
        assert_eq!(shared.matches("server web-cny-01 10.77.0.13:8080 weight 0\n").count(), 1, "{text}");
        assert_eq!(shared.matches("server web-cny-01").count(), 1, "{text}");
        assert!(own.contains("server web-cny-01 10.77.0.13:8080\n") && !own.contains("web-01 "), "{text}");
    }
}
