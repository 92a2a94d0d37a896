//! Load on an HTTP server by `wrk`, and what it measured.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::run::program;

/// What is sent, over and over.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: &'static str,
    /// The whole URL. `%d` in it is replaced by a number from 0 to 96 where the body varies.
    pub url: String,
    /// A session's token.
    pub token: Option<String>,
    /// The length of the value in a JSON body `{"value": "…"}` that is another each time; none is no body.
    pub value_bytes: Option<usize>,
}

/// What a load came to.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Answers a second.
    pub per_second: f64,
    /// The time within which 99 of 100 were answered.
    pub p99: Duration,
}

/// A body that is another each time: `seed` differs from run to run, or a run would set what the last one set.
const VARYING: &str = r#"
local url, seed, size = os.getenv("BENCH_PATH"), os.getenv("BENCH_SEED"), tonumber(os.getenv("BENCH_BYTES"))
local method, sent = os.getenv("BENCH_METHOD"), 0
local noise = {}
math.randomseed(tonumber(seed))
for i = 1, 64 do
  local text = {}
  for j = 1, size do text[j] = string.char(97 + math.random(0, 25)) end
  noise[i] = table.concat(text)
end
request = function()
  sent = sent + 1
  local head = seed .. "-" .. sent .. "-"
  local body = '{"value": "' .. head .. string.sub(noise[sent % 64 + 1], #head + 1) .. '"}'
  return wrk.format(method, (string.gsub(url, "%%d", sent % 97)), nil, body)
end
"#;

/// Puts load on a server for some seconds, from one thread.
///
/// # Errors
/// When `wrk` fails, or any answer is not a success.
pub fn load(request: &Request, connections: u32, seconds: u32, seed: u32) -> Result<Load> {
    let mut wrk = program("wrk -t1 --latency");
    wrk.arg(format!("-c{connections}")).arg(format!("-d{seconds}s"));
    if let Some(token) = &request.token {
        wrk.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    let script = tempfile::Builder::new().suffix(".lua").tempfile()?;
    if let Some(bytes) = request.value_bytes {
        std::fs::write(script.path(), VARYING)?;
        let host = request.url.find("//").map_or(0, |at| at + 2);
        let path = request.url[host..].find('/').map_or("/", |at| &request.url[host + at..]);
        wrk.args(["-H", "Content-Type: application/json", "-s"]).arg(script.path());
        wrk.env("BENCH_PATH", path).env("BENCH_METHOD", request.method);
        wrk.env("BENCH_BYTES", bytes.to_string()).env("BENCH_SEED", seed.to_string());
    }
    wrk.arg(request.url.replace("%d", "0"));
    let output = wrk.stderr(Stdio::inherit()).output().context("wrk could not be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk failed: {text}");
    parse(&text)
}

fn parse(text: &str) -> Result<Load> {
    for trouble in ["Non-2xx", "Socket errors"] {
        ensure!(!text.contains(trouble), "{} was not answered as it should be:\n{text}", trouble);
    }
    let after = |name: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(name))
            .map(str::trim)
            .with_context(|| format!("wrk says nothing of {name}:\n{text}"))
    };
    Ok(Load { per_second: after("Requests/sec:")?.parse()?, p99: duration(after("99%")?)? })
}

/// A time as `wrk` writes it: `37.00us`, `1.20ms`, `2.01s`, `1.00m`.
fn duration(text: &str) -> Result<Duration> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text[..text.len() - unit.len()].parse()?;
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => bail!("`{text}` is no time"),
    };
    Ok(Duration::from_secs_f64(number * scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "  Latency Distribution\n     50%  380.00us\n     99%    1.25ms\n  9 requests in 2.00s\nRequests/sec:  15234.50\n";

    #[test]
    fn what_wrk_prints_is_read() {
        let load = parse(OUTPUT).unwrap();
        assert!((load.per_second - 15234.5).abs() < 1e-9);
        assert_eq!(load.p99, Duration::from_micros(1250));
    }

    #[test]
    fn an_answer_that_is_no_success_fails_the_measurement() {
        assert!(parse(&format!("{OUTPUT}  Non-2xx or 3xx responses: 1\n")).is_err());
        assert!(parse(&format!("{OUTPUT}  Socket errors: connect 0, read 1\n")).is_err());
        assert!(parse("").is_err());
    }
}
