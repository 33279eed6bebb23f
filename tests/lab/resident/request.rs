//! The client's half of HTTP/1.1: one request, and exactly how it went wrong if it did.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any request should take: the slow ones last three seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a request counts as failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection.
    Connect(String),
    /// The connection ended before a whole head arrived.
    Closed(String),
    /// Any status but 200.
    Status(u16),
    /// The body ended before its announced length.
    Truncated { got: usize, announced: usize },
    /// Nothing arrived for too long.
    TimedOut,
    /// An answer that this fleet should not give.
    Wrong(String),
}

impl Failure {
    /// The word the report counts it under.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Connect(_) => "connect".to_owned(),
            Self::Closed(_) => "closed".to_owned(),
            Self::Status(code) => format!("status {code}"),
            Self::Truncated { .. } => "truncated".to_owned(),
            Self::TimedOut => "timeout".to_owned(),
            Self::Wrong(_) => "wrong".to_owned(),
        }
    }

    /// The same with what is known about it.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Connect(why) => format!("no connection: {why}"),
            Self::Closed(why) => format!("connection ended before the answer: {why}"),
            Self::Status(code) => format!("status {code}"),
            Self::Truncated { got, announced } => format!("{got} of {announced} bytes"),
            Self::TimedOut => format!("no answer within {} s", PATIENCE.as_secs()),
            Self::Wrong(why) => format!("wrong answer: {why}"),
        }
    }
}

/// A whole answer with status 200.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    pub(crate) cookie: Option<String>,
    /// The server wants no further request on this connection.
    pub(crate) closes: bool,
}

/// One client connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(target: SocketAddr) -> Result<Self, Failure> {
        let opened = TcpStream::connect_timeout(&target, PATIENCE).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        });
        opened
            .map(|stream| Self { stream: BufReader::new(stream) })
            .map_err(|error| Failure::Connect(error.to_string()))
    }

    /// Sends one GET and reads the whole answer. There is no second attempt of any kind.
    pub(crate) fn get(&mut self, path: &str, cookie: Option<&str>, keep: bool) -> Result<Answer, Failure> {
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: shop.lab\r\n");
        if let Some(cookie) = cookie {
            head.push_str(&format!("Cookie: {cookie}\r\n"));
        }
        if !keep {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        self.stream.get_mut().write_all(head.as_bytes()).map_err(|error| closed(&error))?;
        read_answer(&mut self.stream)
    }
}

fn closed(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::TimedOut,
        _ => Failure::Closed(error.to_string()),
    }
}

fn read_line(input: &mut impl BufRead) -> Result<String, Failure> {
    let mut line = String::new();
    match input.read_line(&mut line) {
        Ok(_) if line.ends_with('\n') => Ok(line.trim_end().to_owned()),
        Ok(_) => Err(Failure::Closed("end of stream".to_owned())),
        Err(error) => Err(closed(&error)),
    }
}

fn read_answer(input: &mut impl BufRead) -> Result<Answer, Failure> {
    let status = read_line(input)?;
    let code = status.split_whitespace().nth(1).and_then(|code| code.parse::<u16>().ok());
    let code = code.ok_or_else(|| Failure::Wrong(format!("status line {status:?}")))?;
    let (mut length, mut cookie, mut closes) = (None, None, status.starts_with("HTTP/1.0"));
    loop {
        let line = read_line(input)?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse::<usize>().ok(),
            "connection" => closes = value.eq_ignore_ascii_case("close"),
            "set-cookie" => cookie = value.split(';').next().map(str::to_owned),
            _ => {}
        }
    }
    if code != 200 {
        return Err(Failure::Status(code));
    }
    let announced = length.ok_or_else(|| Failure::Wrong("no Content-Length".to_owned()))?;
    Ok(Answer { body: read_body(input, announced)?, cookie, closes })
}

fn read_body(input: &mut impl BufRead, announced: usize) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::with_capacity(announced);
    let ended = input.take(announced as u64).read_to_end(&mut body);
    match ended {
        _ if body.len() == announced => Ok(body),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Err(Failure::TimedOut)
        }
        _ => Err(Failure::Truncated { got: body.len(), announced }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Answer, Failure> {
        read_answer(&mut text.as_bytes())
    }

    #[test]
    fn a_whole_answer_is_read() {
        let answer =
            read("HTTP/1.1 200 OK\r\nSet-Cookie: SRV=web-01; path=/\r\nContent-Length: 2\r\n\r\nok").unwrap();
        assert_eq!(answer.body, b"ok");
        assert_eq!(answer.cookie.as_deref(), Some("SRV=web-01"));
        assert!(!answer.closes);
    }

    #[test]
    fn every_way_to_fail_has_its_own_kind() {
        assert_eq!(read("").unwrap_err().kind(), "closed");
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-").unwrap_err().kind(), "closed");
        assert_eq!(read("HTTP/1.1 503 Unavailable\r\n\r\n").unwrap_err().kind(), "status 503");
        assert_eq!(read("HTTP/1.1 200 OK\r\n\r\nok").unwrap_err().kind(), "wrong");
        let short = read("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok").unwrap_err();
        assert_eq!(short, Failure::Truncated { got: 2, announced: 9 });
    }
}
