//! `keygen`, `sign`, `verify`.

use std::{io::IsTerminal, path::Path};

use serde_json::json;

use super::{
    Done, Failure,
    args::{Format, KeygenArgs, SignArgs, VerifyArgs},
    exit_code, print, print_json,
};
use crate::seal::{
    folder::{self, VerifyError},
    key::{KeyError, PrivateKey, PublicKey},
};

/// The password of a key: `COSIGN_PASSWORD`, else asked for.
fn password(twice: bool) -> Result<String, Failure> {
    if let Ok(password) = std::env::var("COSIGN_PASSWORD") {
        return Ok(password);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "the key's password is not known; set COSIGN_PASSWORD (it may be empty) or run it on a terminal",
        ));
    }
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt)
            .map_err(|e| Failure::usage(format!("cannot read the password: {e}")))
    };
    let password = ask("Password of the private key: ")?;
    if twice && ask("The same again: ")? != password {
        return Err(Failure::usage(
            "the two passwords differ; nothing was written",
        ));
    }
    Ok(password)
}

/// Opens a private key.
pub(super) fn open(path: &Path) -> Result<PrivateKey, Failure> {
    if !path.exists() {
        return Err(Failure::usage(format!(
            "there is no key {}; make one with `kfconform keygen`",
            path.display()
        )));
    }
    PrivateKey::read(path, password(false)?.as_bytes()).map_err(Failure::usage)
}

/// A key for one run on the reference: its result is signed like any other, so that a newcomer can verify it.
pub(super) fn ephemeral() -> Result<PrivateKey, Failure> {
    PrivateKey::generate().map_err(Failure::incomplete)
}

pub(super) fn keygen(args: &KeygenArgs) -> Done {
    let key = PrivateKey::generate().map_err(Failure::incomplete)?;
    let (private, public) = key
        .write_pair(&args.out, password(true)?.as_bytes())
        .map_err(|e: KeyError| Failure::usage(e))?;
    match args.format {
        Format::Json => print_json(
            &json!({"privateKey": private, "publicKey": public, "hint": key.public().hint()}),
        )?,
        Format::Text => print(&format!(
            "private key: {}\npublic key:  {}\n",
            private.display(),
            public.display()
        ))?,
    }
    Ok(exit_code::OK)
}

pub(super) fn sign(args: &SignArgs) -> Done {
    let key = open(&args.key)?;
    let attestation = folder::sign(&args.dir, &key).map_err(Failure::usage)?;
    match args.format {
        Format::Json => {
            print_json(&json!({"attestation": attestation, "hint": key.public().hint()}))?;
        }
        Format::Text => print(&format!("signed: {}\n", attestation.display()))?,
    }
    Ok(exit_code::OK)
}

pub(super) fn verify(args: &VerifyArgs) -> Done {
    let key = PublicKey::read(&args.trust).map_err(Failure::usage)?;
    if !args.dir.is_dir() {
        return Err(Failure::usage(format!(
            "{} is no result folder",
            args.dir.display()
        )));
    }
    match folder::verify(&args.dir, &key) {
        Ok(verified) => {
            let commands = folder::cosign_commands(&args.dir, &args.trust, &verified);
            match args.format {
                Format::Json => {
                    let files: Vec<_> = verified
                        .files
                        .iter()
                        .map(|f| json!({"name": f.name, "sha256": f.sha256}))
                        .collect();
                    print_json(&json!({"verified": true, "files": files, "cosign": commands}))?;
                }
                Format::Text => {
                    let mut text = format!(
                        "verified: {} files are as they were signed\n",
                        verified.files.len()
                    );
                    for file in &verified.files {
                        text.push_str(&format!("  {}  {}\n", file.sha256, file.name));
                    }
                    text.push_str("the same with cosign:\n");
                    for command in commands {
                        text.push_str(&format!("  {command}\n"));
                    }
                    print(&text)?;
                }
            }
            Ok(exit_code::OK)
        }
        Err(error) => refused(args, &error),
    }
}

fn refused(args: &VerifyArgs, error: &VerifyError) -> Done {
    if args.format == Format::Json {
        print_json(&json!({"verified": false, "why": error.to_string()}))?;
        return Ok(exit_code::NO);
    }
    Err(Failure::no(format!(
        "{} is refused: {error}",
        args.dir.display()
    )))
}
