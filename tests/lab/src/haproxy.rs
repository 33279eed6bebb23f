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
    default_backend web
";

/// The whole configuration, for web hosts by name and address.
pub(crate) fn configuration(servers: &[(String, String)]) -> String {
    let mut text = HEAD.to_owned();
    for (backend, extra) in [("web", ""), ("web_sticky", "    cookie SRV insert indirect nocache\n")] {
        text.push_str(&format!(
            "\nbackend {backend}\n    balance roundrobin\n{extra}    option httpchk GET /-/readiness\n    \
             default-server check inter 2s weight 100\n"
        ));
        for (name, address) in servers {
            let cookie = if extra.is_empty() { String::new() } else { format!(" cookie {name}") };
            text.push_str(&format!("    server {name} {address}:8080{cookie}\n"));
        }
    }
    text
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

    #[test]
    fn every_web_host_is_a_server_of_both_backends() {
        let text = configuration(&[("web-01".to_owned(), "10.77.0.13".to_owned())]);
        assert!(text.contains("\n    server web-01 10.77.0.13:8080\n"), "{text}");
        assert!(text.contains("\n    server web-01 10.77.0.13:8080 cookie web-01\n"), "{text}");
    }
}
