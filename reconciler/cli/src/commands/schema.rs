//! `schema`: the JSON Schema of a file of the desired-state repository.

use model::parse::{self, SchemaKind};

use crate::args::{Schema, SchemaFile};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;

pub(super) fn schema(args: &Schema) -> Result<Exit, CliError> {
    let kind = match args.file {
        SchemaFile::Environment => SchemaKind::Environment,
        SchemaFile::Release => SchemaKind::Release,
    };
    output::json(&parse::schema(kind))?;
    Ok(Exit::Done)
}
