//! `trapline schema WHAT`: JSON Schemas, made from the same tables as the code.

use clap::ValueEnum;

use super::Exit;
use super::output::Out;
use crate::app;
use crate::config;
use crate::delivery::registry::{SETS, SINKS};

/// What `schema` understands.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Of what
    #[arg(value_enum)]
    what: What,
}

/// What has a schema.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// An event as ECS
    Ecs,
    /// An event as OCSF
    Ocsf,
    /// The configuration file
    Config,
}

pub(super) fn run(wanted: &Arguments) -> anyhow::Result<Exit> {
    let schema = match wanted.what {
        What::Ecs => trapline_schemas::schema::ecs(),
        What::Ocsf => trapline_schemas::schema::ocsf(),
        What::Config => config::schema(SINKS, SETS, &app::service_rules()),
    };
    let mut out = Out::new();
    out.line(&serde_json::to_string_pretty(&schema)?)?;
    out.flush()?;
    Ok(Exit::Done)
}
