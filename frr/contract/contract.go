// SPDX-License-Identifier: Apache-2.0

// Package contract reads and writes the files that herald-agent and the FRR container
// share.
package contract

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

	"github.com/heraldlb/herald/frr/conf"
)

// Files in /etc/frr, which the agent and the FRR container share. docs/frr-contract.md
// says which of the two writes which file, and when.
const (
	ConfFile          = "frr.conf"            // by the agent: what FRR starts from
	HeartbeatFile     = "agent.alive"         // by the agent: its time is the last sign of life
	LastFile          = "agent.last"          // by an agent that stops: no other node is known yet to announce some of its routes
	ExtrasFile        = "extras.conf"         // by the agent: the operator's raw configuration
	ExtrasAppliedFile = "extras.applied.conf" // by herald-frr: the last one that FRR accepted
	ExtrasResultFile  = "extras.result.json"  // by herald-frr: the result for the current one
	MetricsFile       = "frr.metrics"         // by herald-frr: it exists if herald-frr exports the metrics of sessions
	ReviewSocket      = "agent.review"        // by the agent: where herald-frr asks who may read metrics, if they are secure
)

// VtyshConf is the vtysh.conf that makes vtysh read the one frr.conf rather than a
// file for each daemon.
const VtyshConf = "service integrated-vtysh-config\n"

// An ExtrasResult is the result of applying the operator's raw configuration. It
// contains no password.
type ExtrasResult struct {
	Sum     string    `json:"sum"`              // of the raw configuration: see Sum
	Applied bool      `json:"applied"`          // FRR runs all of it
	Error   string    `json:"error,omitempty"`  // why it does not, in FRR's words
	Remark  string    `json:"remark,omitempty"` // lines that FRR accepted but shows differently
	At      time.Time `json:"at"`
}

// ReadExtras returns the operator's raw configuration, empty if there is none.
func ReadExtras(dir string) ([]byte, error) { return readFile(filepath.Join(dir, ExtrasFile)) }

// readFile reads a file. A file that does not exist is empty.
func readFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// WriteExtras writes the operator's raw configuration, and reports whether it has
// changed. An empty one is an empty file.
func WriteExtras(dir string, text []byte) (changed bool, err error) {
	old, err := ReadExtras(dir)
	if err != nil || string(old) == string(text) {
		return false, err
	}
	return true, ReplaceFile(filepath.Join(dir, ExtrasFile), text)
}

// ReadExtrasApplied returns the raw configuration that FRR accepted last, empty if
// there is none. It stays in force while the current one has a mistake.
func ReadExtrasApplied(dir string) ([]byte, error) {
	return readFile(filepath.Join(dir, ExtrasAppliedFile))
}

// WriteExtrasApplied writes the raw configuration that FRR has accepted.
func WriteExtrasApplied(dir string, text []byte) error {
	return ReplaceFile(filepath.Join(dir, ExtrasAppliedFile), text)
}

// ReadExtrasResult returns the last result of herald-frr, zero if there is none. It is
// for the current raw configuration if the sums are equal.
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

// WriteExtrasResult writes a result for the agent.
func WriteExtrasResult(dir string, r ExtrasResult) error {
	r.Error = conf.Redact(r.Error)
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return ReplaceFile(filepath.Join(dir, ExtrasResultFile), append(text, '\n'))
}

// WriteMetrics records whether herald-frr exports the metrics of sessions. The agent
// exports them only if herald-frr does not, so that none is counted twice.
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

// HasMetrics reports whether herald-frr exports the metrics of sessions.
func HasMetrics(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, MetricsFile))
	return err == nil
}

// Sum returns the sum by which an ExtrasResult identifies a raw configuration.
func Sum(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
