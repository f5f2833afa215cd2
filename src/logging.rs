//! What relvec says while it works, on standard error: a line for people, or a JSON object for programs.
//!
//! Lines of a request, a run or a stage have its id. With the feature `otel` the spans go to an OpenTelemetry collector as well.

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::error::Result;
use crate::service::redact::LogWriter;
use crate::settings::{LogFormat, Settings};

/// Sends what is left when it is dropped.
#[derive(Debug, Default)]
#[must_use]
pub struct Logging {
    #[cfg(feature = "otel")]
    spans: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

/// Starts to log. Called once, outside any runtime: what sends spans has threads of its own.
///
/// # Errors
/// The collector's address is not a URL, or this relvec was built without the feature that sends to one.
pub fn start(settings: &Settings) -> Result<Logging> {
    let lines = fmt::layer().with_writer(LogWriter::default);
    let lines = match settings.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
    };
    let lines = lines.with_filter(EnvFilter::new(&settings.log));
    let mut logging = Logging::default();
    let spans = spans(settings, &mut logging)?;
    tracing_subscriber::registry()
        .with(spans)
        .with(lines)
        .init();
    Ok(logging)
}

type Spans = Option<Box<dyn Layer<Registry> + Send + Sync>>;

#[cfg(not(feature = "otel"))]
fn spans(settings: &Settings, _: &mut Logging) -> Result<Spans> {
    use crate::error::{Error, ErrorKind};

    if settings.otlp_endpoint.is_none() {
        return Ok(None);
    }
    Err(Error::new(
        ErrorKind::Configuration,
        "RELVEC_OTLP_ENDPOINT is set, and this relvec cannot send spans",
    )
    .hint("build it with `cargo build --release --features otel`, or unset the variable"))
}

#[cfg(feature = "otel")]
fn spans(settings: &Settings, logging: &mut Logging) -> Result<Spans> {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::level_filters::LevelFilter;

    use crate::error::{Error, ErrorKind};

    let Some(endpoint) = &settings.otlp_endpoint else {
        return Ok(None);
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(endpoint)
        .build()
        .map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                "RELVEC_OTLP_ENDPOINT is not an address that spans can be sent to",
            )
            .because(error)
            .hint("for instance http://127.0.0.1:4318/v1/traces")
        })?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name("relvec").build())
        .build();
    let tracer = provider.tracer("relvec");
    logging.spans = Some(provider);
    // relvec's own spans are all of the highest level; those of libraries are of no use here.
    let spans = tracing_opentelemetry::layer().with_tracer(tracer);
    Ok(Some(spans.with_filter(LevelFilter::ERROR).boxed()))
}

#[cfg(feature = "otel")]
impl Drop for Logging {
    fn drop(&mut self) {
        if let Some(spans) = &self.spans
            && let Err(error) = spans.shutdown()
        {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}
