//! The script in a container: an image of the generated files, the secrets on standard input, the sandbox of `service::docker`.

use std::net::IpAddr;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::environment::{EMBEDDING_BASE_URL, Environment, LOOPBACK, uses_own_endpoint};
use super::reach::from_own_network;
use super::script::{Listener, SOURCE_URL, Said};
use super::{hex, orphans};
use crate::allowed::Role;
use crate::graph::context::Context;
use crate::graph::event::LogLevel;
use crate::graph::handler::HandlerError;
use crate::handlers::infra_generator::base_image;
use crate::model::generated::{GeneratedCode, GeneratedInfra};
use crate::model::job::{EmbeddingProvider, ExecutionSpec, JobInput, secret};
use crate::model::metadata::Dialect;
use crate::service::docker::{Container, Docker, Ended, HOST_NAME, ImageContext, Limits, Network};
use crate::source::Place;

/// Reads one line of JSON, the environment, and becomes the script: no secret is in the container's own environment.
const LAUNCH: &str = include_str!("launch.py");

/// Where a SQLite file's folder is inside.
const SOURCE_FOLDER: &str = "/source";

/// Where sentence-transformers' models are kept between runs.
const MODELS: &str = "relvec-models:/models";

/// The shell's way to say SIGKILL and SIGTERM.
const KILLED: i32 = 128 + 9;
const TERMINATED: i32 = 128 + 15;

/// What the script says last where it was asked to stop.
const STOPPED_AS_ASKED: &str = "stopped as asked";

/// A container that is ready to be made.
pub(super) struct Prepared {
    docker: Docker,
    container: Container,
    environment: Environment,
    /// The host that was written and is now this machine's name inside.
    rewritten: Option<String>,
}

/// Reaps what was left behind, builds the image, and sees that everything can be reached from inside.
pub(super) async fn prepare(
    docker: Docker,
    job: &JobInput,
    code: &GeneratedCode,
    infra: &GeneratedInfra,
    ctx: &Context,
) -> Result<Prepared, HandlerError> {
    let (home, epoch) = (orphans::owner(ctx.cache())?, orphans::epoch());
    orphans::reap(&docker, &home, epoch, ctx).await?;
    let network = network(&job.execution);
    if let Network::Own(name) = &network
        && job.target.is_embedded()
    {
        return Err(HandlerError::permanent(format!(
            "the embedded target listens on 127.0.0.1 of this machine only, which a container in the network `{name}` cannot reach: \
             set `execution.network` to `host`, or name a target of your own"
        )));
    }
    let mut environment = Environment::of_migration(job, code, ctx).await?;
    start_endpoint(&docker, &network, job, &mut environment, ctx).await?;
    let mut binds = Vec::new();
    if code.plan.dialect == Dialect::Sqlite {
        binds.push(mount_source(&mut environment, ctx)?);
    }
    if code.embedding.provider == EmbeddingProvider::Local {
        binds.push(MODELS.to_owned());
    }
    let rewritten = rewrite(&network, job, &mut environment, ctx);
    let context = ImageContext {
        files: image_files(code, infra, ctx)?,
        base: base_image(&job.execution),
        network: job.execution.build_network.clone(),
    };
    let log = |line: &str| ctx.log(LogLevel::Info, line);
    let image = docker.image(&context, log).await?;
    let container = Container {
        image,
        command: ["python3", "-I", "-c", LAUNCH].map(str::to_owned).to_vec(),
        run: ctx.run_id(),
        epoch,
        home,
        network,
        limits: limits(&job.execution),
        binds,
        hosts: environment.addresses.of_container(),
    };
    Ok(Prepared {
        docker,
        container,
        environment,
        rewritten,
    })
}

/// Runs the container to its end.
pub(super) async fn execute(prepared: Prepared, ctx: &Context) -> Result<Said, HandlerError> {
    let Prepared {
        docker,
        container,
        environment,
        rewritten,
    } = prepared;
    let Limits {
        memory_mib,
        cpus,
        pids,
    } = container.limits;
    ctx.log(
        LogLevel::Info,
        format!(
            "the container has {memory_mib} MiB of memory, {cpus} processors at most and {pids} processes; its network is {}",
            shown(&container.network)
        ),
    );
    let input = standard_input(&environment)?;
    let mut listener = Listener::new(&environment.redactor, ctx);
    let ended = docker.run(&container, &input, ctx.cancellation(), |stream, line| {
        listener.hear(stream, line);
    });
    let (code, out_of_memory) = match ended.await? {
        Ended::Exited {
            code,
            out_of_memory,
        } => (code, out_of_memory),
        Ended::Cancelled => return Err(super::stopped()),
    };
    let how = describe(code, out_of_memory, memory_mib, listener.last_error());
    let said = listener.said(Some(code), how);
    let unreachable = matches!(
        said.code.as_deref(),
        Some("source_unreachable" | "target_unreachable")
    );
    Ok(match rewritten.filter(|_| unreachable) {
        Some(host) => said.explained(&format!(
            "`{HOST_NAME}` stands for `{host}`; let the server listen on the network's gateway too, or set `execution.network` to `host`"
        )),
        None => said,
    })
}

/// Says how a container ended, in words.
fn describe(code: i32, out_of_memory: bool, memory_mib: u32, last: Option<&str>) -> String {
    match code {
        _ if out_of_memory => format!(
            "exit code {code}, out of memory: the container's limit is {memory_mib} MiB; raise `execution.memory_mib`"
        ),
        KILLED => format!(
            "exit code {code}, killed by SIGKILL from outside: by `docker kill`, by the daemon, or by the kernel because memory ran out (the limit is {memory_mib} MiB)"
        ),
        TERMINATED => format!("exit code {code}, stopped by SIGTERM from outside"),
        1 if last.is_some_and(|line| line.starts_with(STOPPED_AS_ASKED)) => format!(
            "exit code {code}, the container was stopped from outside: by `docker stop`, or because its daemon stops"
        ),
        _ => format!("exit code {code}"),
    }
}

fn network(execution: &ExecutionSpec) -> Network {
    match execution.network.as_deref() {
        Some("host") => Network::Host,
        Some(name) => Network::Own(name.to_owned()),
        None => Network::Own("bridge".to_owned()),
    }
}

fn shown(network: &Network) -> String {
    match network {
        Network::Host => "that of this machine".to_owned(),
        Network::Own(name) => format!("`{name}`"),
    }
}

fn limits(execution: &ExecutionSpec) -> Limits {
    Limits {
        memory_mib: execution.memory_mib.unwrap_or(1024),
        cpus: execution.cpus.unwrap_or(2.0),
        pids: execution.pids.unwrap_or(256),
    }
}

/// Starts relvec's endpoint where the container reaches it.
async fn start_endpoint(
    docker: &Docker,
    network: &Network,
    job: &JobInput,
    environment: &mut Environment,
    ctx: &Context,
) -> Result<(), HandlerError> {
    if !uses_own_endpoint(job) {
        return Ok(());
    }
    let address = match network {
        Network::Host => LOOPBACK,
        Network::Own(name) => own_gateway(docker, name).await?,
    };
    environment.start_endpoint(address, ctx).await
}

/// Gives a network's gateway if that is an address of this machine: it is another's where the daemon runs in a virtual machine.
async fn own_gateway(docker: &Docker, network: &str) -> Result<IpAddr, HandlerError> {
    let gateway = docker.gateway(network).await?;
    if std::net::TcpListener::bind((gateway, 0)).is_ok() {
        return Ok(gateway);
    }
    Err(HandlerError::permanent(format!(
        "relvec's embedding endpoint cannot listen on {gateway}, the gateway of the network `{network}`: \
         set `execution.network` to `host`, or name an embedding API that the container reaches in `embedding.base_url`"
    )))
}

/// Gives the mount of a SQLite file's folder, and tells the script where the file is inside.
fn mount_source(environment: &mut Environment, ctx: &Context) -> Result<String, HandlerError> {
    let place = Place::within(ctx.need_secret(secret::SOURCE_URL)?, ctx.allowed());
    let file = place.read(Role::Source)?.sqlite_file()?;
    let path = std::fs::canonicalize(file).map_err(|error| {
        HandlerError::permanent(format!("the source's file cannot be found: {error}"))
    })?;
    check_readable(&path)?;
    let (Some(folder), Some(name)) = (path.parent().and_then(Path::to_str), path.file_name())
    else {
        return Err(HandlerError::permanent(format!(
            "{} cannot be mounted: its path is not UTF-8",
            path.display()
        )));
    };
    if folder.contains(':') {
        return Err(HandlerError::permanent(format!(
            "{folder} cannot be mounted: its path has a `:`; move the file, or use `execution.mode` `process`"
        )));
    }
    let name = name
        .to_string_lossy()
        .replace('%', "%25")
        .replace('?', "%3F");
    let inside = SecretString::from(format!("sqlite:{SOURCE_FOLDER}/{name}"));
    environment.replace(SOURCE_URL, inside);
    Ok(format!("{folder}:{SOURCE_FOLDER}:ro"))
}

/// The container's user is neither the file's owner nor in its group.
fn check_readable(path: &Path) -> Result<(), HandlerError> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().unwrap_or(path);
    for (place, bit, right) in [(path, 0o4, "o+r"), (folder, 0o1, "o+x")] {
        let mode = std::fs::metadata(place).map_err(|error| unreadable(place, &error))?;
        if mode.permissions().mode() & bit == 0 {
            return Err(HandlerError::permanent(format!(
                "the container's user cannot read the source: chmod {right} {}, or use `execution.mode` `process`",
                place.display()
            )));
        }
    }
    Ok(())
}

/// Gives loopback hosts the name under which the container knows this machine, says so, and gives the last one.
fn rewrite(
    network: &Network,
    job: &JobInput,
    environment: &mut Environment,
    ctx: &Context,
) -> Option<String> {
    let Network::Own(name) = network else {
        return None;
    };
    if let Some(base_url) = &job.embedding.base_url {
        let url = SecretString::from(base_url.as_str());
        if from_own_network(&url).is_some() {
            environment.replace(EMBEDDING_BASE_URL, url);
        }
    }
    let mut last = None;
    let found: Vec<(String, SecretString, String)> = environment
        .variables
        .iter()
        .filter_map(|(variable, url)| {
            let (inside, host) = from_own_network(url)?;
            Some((variable.clone(), inside, host))
        })
        .collect();
    for (variable, inside, host) in found {
        ctx.log(
            LogLevel::Info,
            format!("{variable}: in the network `{name}` the host `{host}` is `{HOST_NAME}`"),
        );
        environment.replace(&variable, inside);
        last = Some(host);
    }
    last
}

/// Gives the files that the image is built from.
fn image_files(
    code: &GeneratedCode,
    infra: &GeneratedInfra,
    ctx: &Context,
) -> Result<Vec<(String, Vec<u8>)>, HandlerError> {
    let generated = code.files.iter().chain(&infra.files);
    let wanted = generated.filter(|file| {
        let is_python = Path::new(&file.name)
            .extension()
            .is_some_and(|extension| extension == "py");
        is_python || matches!(file.name.as_str(), "Dockerfile" | "requirements.txt")
    });
    wanted
        .map(|file| {
            let path = ctx.artifacts().join(&file.name);
            let content = std::fs::read(&path).map_err(|error| unreadable(&path, &error))?;
            if hex(&Sha256::digest(&content)) != file.sha256 {
                return Err(HandlerError::permanent(format!(
                    "{} is not the file that was generated: run the job again",
                    path.display()
                )));
            }
            Ok((file.name.clone(), content))
        })
        .collect()
}

/// Gives the script's environment as one line of JSON.
fn standard_input(environment: &Environment) -> Result<SecretString, HandlerError> {
    let variables: serde_json::Map<String, serde_json::Value> = environment
        .variables
        .iter()
        .map(|(name, value)| (name.clone(), value.expose_secret().into()))
        .collect();
    serde_json::to_string(&variables)
        .map(SecretString::from)
        .map_err(|_| HandlerError::permanent("the script's environment cannot be written as JSON"))
}

fn unreadable(path: &Path, error: &std::io::Error) -> HandlerError {
    HandlerError::permanent(format!("cannot read {}: {error}", path.display()))
}
