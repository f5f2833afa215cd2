//! One container from its creation to its removal.

use std::collections::HashMap;
use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, InspectNetworkOptions,
    StartContainerOptions, StopContainerOptions, WaitContainerOptions,
};
use futures::StreamExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lines::Lines;
use super::{Docker, label};
use crate::error::{Error, ErrorKind, Result};
use crate::service::process::Stream;

/// Who the program is: nobody that the host knows.
const USER: &str = "65532:65532";

/// The only place that can be written to.
const TMPFS: (&str, &str) = ("/tmp", "rw,noexec,nosuid,nodev,size=64m,mode=1777");

/// Seconds between SIGTERM and SIGKILL where a run is cancelled.
const GRACE_SECONDS: i32 = 2;

/// How often a running program hears that relvec is there: it ends by itself where it does not for a minute.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long the end of a container whose output has ended may take to be known.
const END: Duration = Duration::from_secs(15);

/// Bytes of a line that are kept.
const MAX_STDERR_LINE: usize = 16 * 1024;
const MAX_STDOUT_LINE: usize = 8 * 1024 * 1024;

/// The name of this machine inside a container that has a network of its own.
pub const HOST_NAME: &str = "host.docker.internal";

/// Which network a container is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// The one of the machine that the daemon runs on.
    Host,
    /// One of the daemon's: `bridge`, or one with a name.
    Own(String),
}

impl Network {
    fn mode(&self) -> &str {
        match self {
            Self::Host => "host",
            Self::Own(name) => name,
        }
    }
}

/// What a container may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Memory, in MiB, with no swap beside it.
    pub memory_mib: u32,
    /// Processors; all that the daemon has if that is less.
    pub cpus: f64,
    /// Processes and threads.
    pub pids: u32,
}

/// What is run.
#[derive(Debug)]
pub struct Container {
    /// The image's id.
    pub image: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The run that it belongs to.
    pub run: Uuid,
    /// The execution of the run: a later one has a greater number.
    pub epoch: u64,
    /// The relvec that it belongs to.
    pub home: String,
    /// Its network.
    pub network: Network,
    /// Its limits.
    pub limits: Limits,
    /// Folders and volumes, as `FROM:TO:ro`.
    pub binds: Vec<String>,
    /// Names and their addresses, as `NAME:ADDRESS`, which hold whatever a name server says.
    pub hosts: Vec<String>,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With an exit code; 137 and the like stand for a signal.
    Exited {
        /// The code.
        code: i32,
        /// Whether the kernel killed something in it because its memory ran out.
        out_of_memory: bool,
    },
    /// It was stopped because the caller cancelled.
    Cancelled,
}

impl Docker {
    /// Runs a container to its end and removes it. `input` is written to its standard input as one line, and an empty line every
    /// 5 s after it: a program that watches them ends when relvec does. Each line of its output goes to `on_line`.
    ///
    /// # Errors
    /// It cannot be made or started, or the daemon goes away.
    pub async fn run(
        &self,
        container: &Container,
        input: &SecretString,
        cancel: &CancellationToken,
        on_line: impl FnMut(Stream, &str) + Send,
    ) -> Result<Ended> {
        let name = format!("relvec-{}-{}", container.run, container.epoch);
        let options = CreateContainerOptions {
            name: Some(name.clone()),
            ..CreateContainerOptions::default()
        };
        let body = self.body(container).await?;
        let created = self.client.create_container(Some(options), body).await;
        let id = created
            .map_err(|error| self.failed(&format!("container {name} cannot be made"), &error))?
            .id;
        let ended = self.drive(&id, &name, input, cancel, on_line).await;
        // What cannot be removed now is removed by the next run: its labels say whose it was.
        let _ = self.remove(&id).await;
        ended
    }

    /// Gives the address of this machine in a network, where other containers of that network can reach it.
    ///
    /// # Errors
    /// There is no such network, or it has no gateway.
    pub async fn gateway(&self, network: &str) -> Result<std::net::IpAddr> {
        let options = None::<InspectNetworkOptions>;
        let found = self.client.inspect_network(network, options).await;
        let found = found.map_err(|error| {
            self.failed(&format!("the network `{network}` cannot be used"), &error)
        })?;
        let configured = found.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        let mut gateways = configured.into_iter().filter_map(|config| config.gateway);
        gateways
            .find_map(|gateway| gateway.parse().ok())
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Invalid,
                    format!("the network `{network}` has no gateway"),
                )
                .hint("name another network in `execution.network`")
            })
    }

    async fn body(&self, container: &Container) -> Result<ContainerCreateBody> {
        let info = self.client.info().await;
        let info = info.map_err(|error| self.failed("the daemon's limits", &error))?;
        let there = info.ncpu.and_then(|count| u32::try_from(count).ok());
        let cpus = there.map_or(container.limits.cpus, |there| {
            container.limits.cpus.min(f64::from(there))
        });
        Ok(ContainerCreateBody {
            image: Some(container.image.clone()),
            entrypoint: Some(Vec::new()),
            cmd: Some(container.command.clone()),
            user: Some(USER.to_owned()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            open_stdin: Some(true),
            // Standard input ends for good when relvec is gone, however it went.
            stdin_once: Some(true),
            labels: Some(HashMap::from([
                (label::RUN.to_owned(), container.run.to_string()),
                (label::EPOCH.to_owned(), container.epoch.to_string()),
                (label::HOME.to_owned(), container.home.clone()),
            ])),
            host_config: Some(host_config(container, cpus)),
            ..ContainerCreateBody::default()
        })
    }

    async fn drive(
        &self,
        id: &str,
        name: &str,
        input: &SecretString,
        cancel: &CancellationToken,
        mut on_line: impl FnMut(Stream, &str) + Send,
    ) -> Result<Ended> {
        let failed = |error| self.failed(&format!("container {name}"), &error);
        let options = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        let AttachContainerResults {
            mut output,
            input: mut stdin,
        } = self
            .client
            .attach_container(id, Some(options))
            .await
            .map_err(failed)?;
        let start = self
            .client
            .start_container(id, None::<StartContainerOptions>);
        start.await.map_err(failed)?;
        let line = SecretString::from(format!("{}\n", input.expose_secret()));
        // It fails where the program is gone already: its exit code says why.
        let _ = stdin.write_all(line.expose_secret().as_bytes()).await;
        let _ = stdin.flush().await;

        let (mut out, mut err) = (Lines::new(MAX_STDOUT_LINE), Lines::new(MAX_STDERR_LINE));
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut cancelled = false;
        while !cancelled {
            tokio::select! {
                piece = output.next() => match piece {
                    Some(Ok(LogOutput::StdErr { message })) => err.push(&message, |line| on_line(Stream::Stderr, line)),
                    Some(Ok(LogOutput::StdOut { message } | LogOutput::Console { message })) => {
                        out.push(&message, |line| on_line(Stream::Stdout, line));
                    }
                    Some(Ok(LogOutput::StdIn { .. })) => {}
                    Some(Err(_)) | None => break,
                },
                // Where it fails, the output ends too. A program that reads nothing has a pipe full of room for these.
                _ = heartbeat.tick() => { let _ = stdin.write_all(b"\n").await; }
                () = cancel.cancelled() => {
                    cancelled = true;
                    let options = StopContainerOptions { t: Some(GRACE_SECONDS), ..StopContainerOptions::default() };
                    // Where it cannot be stopped in order, it is killed when it is removed.
                    let _ = self.client.stop_container(id, Some(options)).await;
                }
            }
        }
        out.finish(|line| on_line(Stream::Stdout, line));
        err.finish(|line| on_line(Stream::Stderr, line));
        if cancelled {
            return Ok(Ended::Cancelled);
        }
        self.end(id, name).await
    }

    /// Says how a container whose output is over ended.
    async fn end(&self, id: &str, name: &str) -> Result<Ended> {
        let mut waiting = self.client.wait_container(id, None::<WaitContainerOptions>);
        // What it gives is in the container's state too, with more.
        let _ = tokio::time::timeout(END, waiting.next()).await;
        let inspected = self
            .client
            .inspect_container(id, None::<InspectContainerOptions>)
            .await;
        let state = inspected
            .map_err(|error| {
                self.failed(&format!("the end of container {name} is not known"), &error)
            })?
            .state
            .unwrap_or_default();
        if state.running == Some(true) {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("the connection to container {name} broke while it ran"),
            )
            .hint("retry the run: what is written stays, and only the rest is embedded"));
        }
        let code = state.exit_code.and_then(|code| i32::try_from(code).ok());
        Ok(Ended::Exited {
            code: code.unwrap_or(-1),
            out_of_memory: state.oom_killed == Some(true),
        })
    }
}

fn host_config(container: &Container, cpus: f64) -> HostConfig {
    let memory = i64::from(container.limits.memory_mib) * 1024 * 1024;
    let (place, options) = TMPFS;
    HostConfig {
        network_mode: Some(container.network.mode().to_owned()),
        extra_hosts: Some(extra_hosts(container)).filter(|hosts| !hosts.is_empty()),
        binds: (!container.binds.is_empty()).then(|| container.binds.clone()),
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([(place.to_owned(), options.to_owned())])),
        cap_drop: Some(vec!["ALL".to_owned()]),
        // The daemon's own seccomp profile stays: naming none keeps it.
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        memory: Some(memory),
        memory_swap: Some(memory),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most a few hundred processors"
        )]
        nano_cpus: Some((cpus * 1e9) as i64),
        pids_limit: Some(i64::from(container.limits.pids)),
        ipc_mode: Some("private".to_owned()),
        // The output goes to the run's log and nowhere else: a traceback may hold a row's value.
        log_config: Some(HostConfigLogConfig {
            typ: Some("none".to_owned()),
            config: None,
        }),
        ..HostConfig::default()
    }
}

fn extra_hosts(container: &Container) -> Vec<String> {
    let own = match &container.network {
        Network::Host => None,
        Network::Own(_) => Some(format!("{HOST_NAME}:host-gateway")),
    };
    container.hosts.iter().cloned().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(network: Network) -> Container {
        Container {
            image: "sha256:1".to_owned(),
            command: vec!["python".to_owned()],
            run: Uuid::nil(),
            epoch: 1,
            home: "here".to_owned(),
            network,
            limits: Limits {
                memory_mib: 256,
                cpus: 1.5,
                pids: 64,
            },
            binds: Vec::new(),
            hosts: Vec::new(),
        }
    }

    #[test]
    fn a_container_may_do_nothing_but_run() {
        let config = host_config(&container(Network::Own("bridge".to_owned())), 1.5);
        assert_eq!(config.readonly_rootfs, Some(true));
        assert_eq!(config.cap_drop.as_deref(), Some(&["ALL".to_owned()][..]));
        assert_eq!(
            config.security_opt.as_deref(),
            Some(&["no-new-privileges".to_owned()][..])
        );
        assert_eq!(config.memory, Some(268_435_456));
        assert_eq!(config.memory_swap, config.memory);
        assert_eq!(config.nano_cpus, Some(1_500_000_000));
        assert_eq!(config.pids_limit, Some(64));
        assert_eq!((config.binds, config.privileged), (None, None));
    }

    #[test]
    fn only_a_network_of_its_own_needs_a_name_for_the_host() {
        let hosts = |network| host_config(&container(network), 1.0).extra_hosts;
        assert_eq!(hosts(Network::Host), None);
        assert_eq!(
            hosts(Network::Own("shop".to_owned())),
            Some(vec!["host.docker.internal:host-gateway".to_owned()])
        );
    }
}
