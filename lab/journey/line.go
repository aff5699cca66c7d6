// SPDX-License-Identifier: Apache-2.0

package journey

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/heraldlb/herald/trace"
)

// A Line is a line of package trace in the log of a daemon.
type Line struct {
	Daemon  string    `json:"-"` // such as controller-0
	At      time.Time `json:"time"`
	Level   string    `json:"level"`
	Message string    `json:"msg"`

	Service string        `json:"service"`
	Ingress int           `json:"ingress"`
	Gone    bool          `json:"gone"`
	Route   string        `json:"route"`
	First   string        `json:"first"`
	Last    string        `json:"last"`
	Took    time.Duration `json:"took"`
	Err     any           `json:"err"`
}

// Began returns when what the line says began.
func (l Line) Began() time.Time { return l.At.Add(-l.Took) }

// Read returns the lines of package trace in a log in the JSON format, in their order.
// Other lines are left out.
func Read(daemon string, log io.Reader) ([]Line, error) {
	var out []Line
	r := bufio.NewReader(log)
	for {
		text, err := r.ReadBytes('\n')
		l := Line{Daemon: daemon}
		if json.Unmarshal(text, &l) == nil && l.Level == trace.Level.String() {
			out = append(out, l)
		}
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("log of %s: %w", daemon, err)
		}
	}
}
