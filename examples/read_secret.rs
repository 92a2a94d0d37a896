//! Prints a secret of the environment `production`, and what it is for.

use std::error::Error;
use std::io::{Write as _, stdout};

use settled::client::Ctx;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let ctx = Ctx::from_env("production")?;
    let values = ctx.fetch().await?;
    let url: Option<&str> = values.config("API_URL")?;
    let key = values.secret("PAYMENT_KEY").ok_or("there is no PAYMENT_KEY")?;
    writeln!(stdout(), "{} is for {}", key.as_str()?, url.unwrap_or("no API_URL"))?;
    Ok(())
}
