//! A race, which ThreadSanitizer must report (tsan.sh).
static mut COUNT: u64 = 0;
fn main() {
    let add = || for _ in 0..1000 { unsafe { COUNT += 1 } };
    std::thread::scope(|scope| { scope.spawn(add); scope.spawn(add); });
}
