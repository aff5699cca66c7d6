// SPDX-License-Identifier: Apache-2.0

package members

import "crypto/sha256"

// Key derives the key for the encryption of gossip, AES-256, from the secret that all
// agents share. A secret of any length gives a key of full length.
func Key(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
