//! Rebuilds the suite when a file is added to or removed from what its binary embeds: the macro that embeds
//! a folder notices only changes of the files that were there.

fn main() {
    for folder in ["specs", "fixtures"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
