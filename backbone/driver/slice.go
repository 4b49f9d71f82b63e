package driver

// SliceHash names the function below; it is stored beside a subscription's number
// of slices, so that a later one can be told apart.
const SliceHash = "fnv1a64/1"

// SliceOf returns the slice, 0 to n-1, that a key belongs to. Every store and
// transport uses this function, so that partition = hash mod P and slice = hash
// mod S agree wherever S is a multiple of P.
func SliceOf(key string, n int) int {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := 0; i < len(key); i++ {
		h = (h ^ uint64(key[i])) * prime
	}
	h ^= h >> 32 // low bits of FNV are weak for short keys
	return int(h % uint64(n))
}
