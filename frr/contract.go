// SPDX-License-Identifier: Apache-2.0

package frr

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Files of the folder that the agent and the FRR container share, /etc/frr in
// both. docs/frr-contract.md says who writes which, and when.
const (
	ConfFile          = "frr.conf"            // by the agent: what FRR starts from
	HeartbeatFile     = "agent.alive"         // by the agent: its time says when it was last there
	LastFile          = "agent.last"          // by an agent that stops: until a moment ago no other node was seen to announce some route
	ExtrasFile        = "extras.conf"         // by the agent: the operator's raw configuration
	ExtrasAppliedFile = "extras.applied.conf" // by herald-frr: the last one that FRR has taken
	ExtrasResultFile  = "extras.result.json"  // by herald-frr: what became of the present one
	MetricsFile       = "frr.metrics"         // by herald-frr: it is there if herald-frr has the metrics of sessions
)

// VtyshConf is the vtysh.conf that makes vtysh read the one frr.conf rather than a
// file for each daemon.
const VtyshConf = "service integrated-vtysh-config\n"

// An ExtrasResult says what became of the operator's raw configuration. No
// password is in it.
type ExtrasResult struct {
	Sum     string    `json:"sum"`              // of the text that this is about: see Sum
	Applied bool      `json:"applied"`          // FRR runs all of it
	Error   string    `json:"error,omitempty"`  // why not, in FRR's own words
	Remark  string    `json:"remark,omitempty"` // lines that FRR took, and does not show as they were written
	At      time.Time `json:"at"`
}

// ReadExtras returns the operator's raw configuration; empty if there is none.
func ReadExtras(dir string) ([]byte, error) { return readFile(filepath.Join(dir, ExtrasFile)) }

// readFile reads a file. One that does not exist is empty.
func readFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// WriteExtras hands the operator's raw configuration over, and reports whether
// it is another one than before. The file of an empty one is empty.
func WriteExtras(dir string, text []byte) (changed bool, err error) {
	old, err := ReadExtras(dir)
	if err != nil || string(old) == string(text) {
		return false, err
	}
	return true, ReplaceFile(filepath.Join(dir, ExtrasFile), text)
}

// ReadExtrasApplied returns the raw configuration that FRR has taken last: it stays
// in force while the present one has a mistake. It is empty if there is none.
func ReadExtrasApplied(dir string) ([]byte, error) {
	return readFile(filepath.Join(dir, ExtrasAppliedFile))
}

// WriteExtrasApplied notes which raw configuration FRR has taken.
func WriteExtrasApplied(dir string, text []byte) error {
	return ReplaceFile(filepath.Join(dir, ExtrasAppliedFile), text)
}

// ReadExtrasResult returns what herald-frr said last; the zero value if it has
// said nothing yet. It is about the present text if the sums are equal.
func ReadExtrasResult(dir string) (ExtrasResult, error) {
	text, err := os.ReadFile(filepath.Join(dir, ExtrasResultFile))
	if errors.Is(err, fs.ErrNotExist) {
		return ExtrasResult{}, nil
	}
	if err != nil {
		return ExtrasResult{}, err
	}
	var r ExtrasResult
	if err := json.Unmarshal(text, &r); err != nil {
		return ExtrasResult{}, fmt.Errorf("%s: %w", ExtrasResultFile, err)
	}
	return r, nil
}

// WriteExtrasResult leaves a result for the agent.
func WriteExtrasResult(dir string, r ExtrasResult) error {
	r.Error = Redact(r.Error)
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return ReplaceFile(filepath.Join(dir, ExtrasResultFile), append(text, '\n'))
}

// WriteMetrics leaves word whether herald-frr has the metrics of sessions, so that
// the agent need not: the same ones from both would count twice.
func WriteMetrics(dir string, served bool) error {
	path := filepath.Join(dir, MetricsFile)
	if served {
		return ReplaceFile(path, nil)
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// HasMetrics reports whether herald-frr has the metrics of sessions.
func HasMetrics(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, MetricsFile))
	return err == nil
}

// Sum identifies a text in an ExtrasResult.
func Sum(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
