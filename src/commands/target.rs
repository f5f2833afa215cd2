//! `relvec target`: the PostgreSQL that relvec brings along.

use super::show;
use crate::cli::TargetCommand;
use crate::error::Result;
use crate::service::embedded::Embedded;
use crate::settings::Settings;

/// Says where the embedded target is, or stops it. The password itself is never printed.
///
/// # Errors
/// It cannot be started or stopped.
pub async fn target(command: TargetCommand, settings: &Settings) -> Result<u8> {
    let cache = settings.cache();
    match command {
        TargetCommand::Show => {
            let log = |line: &str| eprintln!("{line}");
            let target = Embedded::ensure(&cache, &settings.python, &log).await?;
            show(&format!(
                "server    127.0.0.1:{}, database relvec, user relvec\npassword  in {}\ndata      {}\n",
                target.port,
                target.password_file.display(),
                target.data.display()
            ))?;
        }
        TargetCommand::Stop => {
            let stopped = Embedded::stop(&cache).await?;
            show(if stopped {
                "stopped\n"
            } else {
                "it did not run\n"
            })?;
        }
    }
    Ok(0)
}
