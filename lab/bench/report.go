// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/json"
	"math"
	"slices"
	"time"
)

// Seconds is a duration that JSON has in seconds.
type Seconds time.Duration

// MarshalJSON implements json.Marshaler.
func (s Seconds) MarshalJSON() ([]byte, error) { return rounded(time.Duration(s).Seconds()) }

// Millis is a duration that JSON has in milliseconds.
type Millis time.Duration

// MarshalJSON implements json.Marshaler.
func (m Millis) MarshalJSON() ([]byte, error) {
	return rounded(float64(m) / float64(time.Millisecond))
}

// Megabytes is a number of bytes that JSON has in megabytes, of 1,000,000 bytes.
type Megabytes int64

// MarshalJSON implements json.Marshaler.
func (m Megabytes) MarshalJSON() ([]byte, error) { return rounded(float64(m) / 1e6) }

// rounded returns a number with two decimals.
func rounded(f float64) ([]byte, error) { return json.Marshal(math.Round(f*100) / 100) }

// A Report is what a run has measured.
type Report struct {
	Services int     `json:"services"`
	Samples  int     `json:"samples"`
	Nodes    int     `json:"nodes"`
	CPUs     int     `json:"cpus"`
	Statuses bool    `json:"service_status"` // whether Herald writes ServiceBGPStatus objects
	Churn    *Churn  `json:"churn,omitempty"`
	Took     Seconds `json:"seconds"`

	Series   []Series  `json:"series"`
	Held     Load      `json:"held"`   // Services that are written into etcd
	Rounds   []Load    `json:"rounds"` // those that are made by the API server
	Restarts []Restart `json:"restarts,omitempty"`
	Phases   []Phase   `json:"phases"`
}

// A Churn is what went on during the series of that name.
type Churn struct {
	Seconds Seconds `json:"seconds"`
	Created int     `json:"services_created"` // and as many deleted
	Changed int     `json:"endpoints_changed"`
}

// A Series is how long Services took that were made one after the other.
type Series struct {
	Name    string       `json:"name"`
	Request Distribution `json:"request_ms"` // request to create it -> answer of the API server
	Address Distribution `json:"address_ms"` // request to create it -> address in its status
	Route   Distribution `json:"route_ms"`   // request to create it -> route in r1's kernel, via any node
	Routes  Distribution `json:"routes_ms"`  // request to create it -> route in r1's kernel, via every node
	Gone    Distribution `json:"gone_ms"`    // request to delete it -> route gone from r1's kernel
}

// A Distribution sums up durations.
type Distribution struct {
	Count   int    `json:"count"`
	Missing int    `json:"missing"` // did not happen in time
	P50     Millis `json:"p50"`
	P90     Millis `json:"p90"`
	P99     Millis `json:"p99"`
	Max     Millis `json:"max"`
}

// missing is the duration of what did not happen in time.
const missing time.Duration = -1

// distribution sums up durations. The quantiles are of the nearest rank.
func distribution(all []time.Duration) Distribution {
	have := slices.DeleteFunc(slices.Clone(all), func(d time.Duration) bool { return d == missing })
	slices.Sort(have)
	d := Distribution{Count: len(have), Missing: len(all) - len(have)}
	at := func(q float64) Millis {
		if len(have) == 0 {
			return 0
		}
		return Millis(have[max(int(math.Ceil(q*float64(len(have)))), 1)-1])
	}
	d.P50, d.P90, d.P99, d.Max = at(0.5), at(0.9), at(0.99), at(1)
	return d
}

// A Load is how long many Services took that came and went together.
type Load struct {
	Name      string   `json:"name"`
	Services  int      `json:"services"`
	Creation  Seconds  `json:"creation_seconds"`  // of all of them, and of their endpoints
	Addressed Seconds  `json:"addressed_seconds"` // last one created -> all have their addresses
	Routed    Seconds  `json:"routed_seconds"`    // last one created -> all in r1's kernel via every node
	Settled   *Seconds `json:"settled_seconds"`   // last one created -> Herald writes nothing any more; nil: it went on to write
	Deletion  Seconds  `json:"deletion_seconds"`
	Gone      Seconds  `json:"gone_seconds"` // last one deleted -> no route in r1's kernel

	Address Distribution `json:"address_ms"` // created -> address in the status, of each

	Writes map[string]int `json:"writes"` // requests of controllers and agents until then, by verb and resource

	Full  map[string]Memory `json:"memory_full"`  // with them
	Empty map[string]Memory `json:"memory_empty"` // after their end
}

// A Memory is what a process takes.
type Memory struct {
	RSS  Megabytes `json:"rss_mb"`
	PSS  Megabytes `json:"pss_mb"`
	Own  Megabytes `json:"own_mb"`      // of RSS, what is no file: the program itself is
	Peak Megabytes `json:"peak_rss_mb"` // since it started
	Heap Megabytes `json:"heap_mb"`     // of Go, garbage included
}

// A Phase is how much CPU each program has used in a part of the run.
type Phase struct {
	Name string             `json:"name"`
	Took Seconds            `json:"seconds"`
	CPU  map[string]Seconds `json:"cpu_seconds"`
}

// A Restart is what a restart of a program does with all Services.
type Restart struct {
	What      string  `json:"what"`
	Down      Seconds `json:"down_seconds"`        // until the program is started again
	Settled   Seconds `json:"settled_seconds"`     // until all is as before
	Withdrawn int     `json:"routes_withdrawn"`    // routes that r1 was without meanwhile
	Paths     int     `json:"paths_withdrawn"`     // routes that were without the node meanwhile
	Longest   Seconds `json:"longest_gap_seconds"` // of such a route
	Memory    *Memory `json:"memory,omitempty"`    // of the new process
}
