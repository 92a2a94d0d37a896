//! Load on an HTTP server by `wrk`, and what it measured.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::NamedTempFile;

use crate::run::program;

/// What is sent, over and over.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: &'static str,
    /// `http://127.0.0.1:PORT`.
    pub base: String,
    /// Paths with their queries, taken in turn. `%d` in one is a number from 0 to 96.
    pub paths: Vec<String>,
    /// The name of the header with the credential, and what stands before it.
    pub header: &'static str,
    /// Credentials, taken in turn; none is sent without any.
    pub tokens: Vec<String>,
    /// Further headers, the same each time: `name: value`.
    pub headers: Vec<String>,
    /// What is sent with it.
    pub body: Option<Body>,
}

/// A JSON body.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    /// `%v` in it is a value that is another each time, of letters and digits alone; `%d` is that of the path.
    pub template: &'static str,
    /// The value's length.
    pub value_bytes: usize,
}

/// How Settled is told who asks.
pub const BEARER: &str = "Authorization: Bearer ";
/// How it is told which program asks.
pub const KEY: &str = "x-fastn-api-key: ";

impl Request {
    /// A GET of some paths.
    pub fn get(base: String, paths: Vec<String>, tokens: Vec<String>) -> Self {
        Self { method: "GET", base, paths, header: BEARER, tokens, headers: Vec::new(), body: None }
    }
}

/// What a load came to.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Answers a second.
    pub per_second: f64,
    /// The time within which half were answered.
    pub p50: Duration,
    /// The time within which 99 of 100 were answered.
    pub p99: Duration,
}

impl Load {
    /// Both times, as they are shown beside a rate.
    pub fn times(&self) -> String {
        format!("p50 {:.2} ms, p99 {:.2} ms", self.p50.as_secs_f64() * 1e3, self.p99.as_secs_f64() * 1e3)
    }
}

/// Sends what differs from request to request: paths and credentials in turn, values that no request before had.
/// `BENCH_SEED` differs from run to run, or a run would set what the last one set.
const VARYING: &str = r#"
local function lines(name)
  local all = {}
  for line in io.lines(os.getenv(name)) do all[#all + 1] = line end
  return all
end
local paths, tokens = lines("BENCH_PATHS"), lines("BENCH_TOKENS")
local header, method, template = os.getenv("BENCH_HEADER"), os.getenv("BENCH_METHOD"), os.getenv("BENCH_BODY")
local seed, size = tonumber(os.getenv("BENCH_SEED")), tonumber(os.getenv("BENCH_BYTES"))
local name, before = string.match(header, "^(.-): (.*)$")
local headers, noise, sent = {}, {}, 0
math.randomseed(seed)
for i = 1, math.max(#tokens, 1) do
  headers[i] = { ["Content-Type"] = "application/json" }
  for further, value in pairs(wrk.headers) do headers[i][further] = value end
  if tokens[i] then headers[i][name] = before .. tokens[i] end
end
for i = 1, 64 do
  local text = {}
  for j = 1, size do text[j] = string.char(97 + math.random(0, 25)) end
  noise[i] = table.concat(text)
end
request = function()
  sent = sent + 1
  local number = tostring(sent % 97)
  local path = string.gsub(paths[sent % #paths + 1], "%%d", number)
  local body
  if template then
    local head = string.format("%08d%08d", seed % 100000000, sent)
    local value = head .. string.sub(noise[sent % 64 + 1], #head + 1)
    body = string.gsub(string.gsub(template, "%%d", number), "%%v", value)
  end
  return wrk.format(method, path, headers[sent % #headers + 1], body)
end
"#;

/// Puts load on a server for some seconds, from one thread.
///
/// # Errors
/// When `wrk` fails, or any answer is not a success.
pub fn load(request: &Request, connections: u32, seconds: u32, seed: u32) -> Result<Load> {
    let mut wrk = program("wrk -t1 --latency --timeout 30s");
    wrk.arg(format!("-c{connections}")).arg(format!("-d{seconds}s"));
    let first = request.paths.first().context("there is a path")?;
    // What is the same each time needs no script, which would take a part of the load's own time.
    let same = request.paths.len() == 1 && request.tokens.len() < 2 && request.body.is_none();
    for header in &request.headers {
        wrk.args(["-H", header]);
    }
    let files = [lines(&request.paths)?, lines(&request.tokens)?, lines(&[VARYING.to_owned()])?];
    if same {
        if let Some(token) = request.tokens.first() {
            wrk.args(["-H", &format!("{}{token}", request.header)]);
        }
    } else {
        let [paths, tokens, script] = files.each_ref().map(NamedTempFile::path);
        wrk.arg("-s").arg(script).env("BENCH_PATHS", paths).env("BENCH_TOKENS", tokens);
        wrk.env("BENCH_HEADER", request.header).env("BENCH_METHOD", request.method);
        wrk.env("BENCH_BYTES", request.body.map_or(0, |body| body.value_bytes).to_string());
        wrk.env("BENCH_SEED", seed.to_string());
        if let Some(body) = request.body {
            wrk.env("BENCH_BODY", body.template);
        }
    }
    wrk.arg(format!("{}{}", request.base, first.replace("%d", "0")));
    let output = wrk.stderr(Stdio::inherit()).output().context("wrk could not be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk failed: {text}");
    let load = parse(&text).with_context(|| format!("{} {}{first}", request.method, request.base))?;
    // Of nothing wrk says that it took no time.
    let whole = Duration::from_secs(seconds.into());
    Ok(if load.per_second > 0.0 { load } else { Load { p50: whole, p99: whole, ..load } })
}

fn lines(lines: &[String]) -> Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".lua").tempfile()?;
    for line in lines {
        writeln!(file, "{line}")?;
    }
    file.flush()?;
    Ok(file)
}

fn parse(text: &str) -> Result<Load> {
    for trouble in ["Non-2xx", "Socket errors"] {
        ensure!(!text.contains(trouble), "requests were not answered as they should be:\n{text}");
    }
    let after = |name: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(name))
            .map(str::trim)
            .with_context(|| format!("wrk says nothing of {name}:\n{text}"))
    };
    Ok(Load {
        per_second: after("Requests/sec:")?.parse()?,
        p50: duration(after("50%")?)?,
        p99: duration(after("99%")?)?,
    })
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
        assert_eq!(load.p50, Duration::from_micros(380));
        assert_eq!(load.p99, Duration::from_micros(1250));
    }

    #[test]
    fn an_answer_that_is_no_success_fails_the_measurement() {
        assert!(parse(&format!("{OUTPUT}  Non-2xx or 3xx responses: 1\n")).is_err());
        assert!(parse(&format!("{OUTPUT}  Socket errors: connect 0, read 1\n")).is_err());
        assert!(parse("").is_err());
    }
}
