/* What the instrumented library calls where no libFuzzer is about: in the shells that that starts. A fuzzer's
 * own functions come before these. */
#include <stdint.h>

void __sanitizer_cov_8bit_counters_init(char *from, char *to) { (void)from, (void)to; }
void __sanitizer_cov_pcs_init(const uintptr_t *from, const uintptr_t *to) { (void)from, (void)to; }
void __sanitizer_cov_trace_pc_indir(uintptr_t callee) { (void)callee; }
