//! The page is compiled into the program: a file added to it is a reason to build again.
fn main() {
    println!("cargo:rerun-if-changed=web");
}
