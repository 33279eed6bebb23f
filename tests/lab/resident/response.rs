//! The server's half of HTTP/1.1: reads request heads from one connection and writes answers to it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// What a client asked for.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) keep_alive: bool,
}

/// Hands every connection to `serve` on a thread of its own, for ever.
pub(crate) fn listen<F>(address: &str, serve: F) -> Result<(), String>
where
    F: Fn(&mut Connection) -> io::Result<()> + Send + Clone + 'static,
{
    let listener =
        TcpListener::bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let serve = serve.clone();
        // A connection that finds no thread is closed: the client sees it and counts it.
        let _ = thread::Builder::new().stack_size(128 * 1024).spawn(move || {
            if let Ok(mut connection) = Connection::new(stream) {
                // An error here is the client gone: nobody is left to tell.
                let _ = serve(&mut connection);
            }
        });
    }
    Ok(())
}

/// One accepted connection.
pub(crate) struct Connection {
    input: BufReader<TcpStream>,
    pub(crate) output: TcpStream,
}

impl Connection {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { input: BufReader::new(stream.try_clone()?), output: stream })
    }

    /// The next request, or `None` when the client has closed.
    pub(crate) fn next(&mut self) -> io::Result<Option<Request>> {
        let mut line = String::new();
        if self.input.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
        let mut request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            keep_alive: words.next() == Some("HTTP/1.1"),
        };
        loop {
            let mut header = String::new();
            if self.input.read_line(&mut header)? == 0 {
                return Ok(None);
            }
            let header = header.trim_end().to_ascii_lowercase();
            match header.as_str() {
                "" => return Ok(Some(request)),
                "connection: close" => request.keep_alive = false,
                "connection: keep-alive" => request.keep_alive = true,
                _ => {}
            }
        }
    }

    /// Writes the head of an answer of `length` bytes.
    pub(crate) fn head(&mut self, status: &str, kind: &str, length: u64, keep: bool) -> io::Result<()> {
        let connection = if keep { "keep-alive" } else { "close" };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n"
        );
        self.output.write_all(head.as_bytes())
    }

    /// Writes a whole answer.
    pub(crate) fn answer(&mut self, status: &str, body: &str, keep: bool) -> io::Result<()> {
        let connection = if keep { "keep-alive" } else { "close" };
        let length = body.len();
        let whole = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n{body}"
        );
        self.output.write_all(whole.as_bytes())
    }
}
