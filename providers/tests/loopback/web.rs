//! A small web server in this process, for load balancers and probes: `/slow` answers only after the test lets it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};

/// Serves until the test ends.
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Web {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let shared = Arc::clone(&gate);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, gate) = (stream.unwrap(), Arc::clone(&shared));
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    let mut line = String::new();
                    let _ = reader.read_line(&mut line);
                    let mut rest = String::new();
                    while reader.read_line(&mut rest).is_ok_and(|n| n > 2) {
                        rest.clear();
                    }
                    if line.contains("/slow") {
                        drop(gate.1.wait_while(gate.0.lock().unwrap(), |open| !*open).unwrap());
                    }
                    let status = if line.contains("/moved") { "302 Found" } else { "200 OK" };
                    let status = if line.contains("/broken") { "503 Service Unavailable" } else { status };
                    let answer =
                        format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n");
                    let _ = stream.write_all(answer.as_bytes());
                });
            }
        });
        Self { address, gate }
    }

    /// Lets every slow request end.
    pub(crate) fn open(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }
}
