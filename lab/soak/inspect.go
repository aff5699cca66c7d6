// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/process"
	"github.com/heraldlb/herald/status"
)

// secondLook is how long nothing may change once all is well.
const secondLook = 3 * time.Second

// quiet waits until Herald writes nothing more, and then wants that to last. It returns
// since when that was so.
func (w *watch) quiet(ctx context.Context, limit time.Duration, pending func(error) error) (since time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var before map[string]string
	err = process.Poll(ctx, time.Millisecond, func() (err error) {
		if before == nil {
			if before, err = w.activity(ctx); err != nil {
				return err
			}
		}
		since = time.Now()
		pause(ctx, secondLook)
		now, err := w.activity(ctx)
		if err != nil {
			return err
		}
		was := before
		before = now
		for _, what := range slices.Sorted(maps.Keys(now)) {
			if now[what] != was[what] {
				return pending(fmt.Errorf("%s: %s, %v before it was %q", what, now[what], secondLook, was[what]))
			}
		}
		return nil
	})
	return since, err
}

// activity is what changes with each write, and with each command to FRR.
func (w *watch) activity(ctx context.Context) (map[string]string, error) {
	writes, err := w.rig.Writes(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for what, n := range writes {
		all["writes "+what] = strconv.Itoa(n)
	}
	for _, n := range w.rig.Nodes {
		page, err := w.rig.Agent(n).Get(ctx, "/status")
		if err != nil {
			return nil, err
		}
		var r status.Report
		if err := json.Unmarshal([]byte(page), &r); err != nil {
			return nil, err
		}
		all["configuration of FRR on "+n.Name] = fmt.Sprintf("version %d of %s", r.FRR.Generation, clock(r.FRR.AppliedAt))
	}
	for _, name := range StableServices {
		all["r1's route to "+name] = fmt.Sprintf("%d changes", len(w.routes.History(route(w.addrs[name]))))
	}
	return all, nil
}

// An inspector looks at processes and at what they have said, once in a while.
type inspector struct {
	rig     *rig
	secrets map[string]string     // by what they are
	read    map[string]int64      // of each log, how far
	passes  map[string][2]float64 // of each process: how many, and seconds
	sizes   map[string]Size       // of each process
	lives   map[string]life
}

// newInspector finds the secrets that must not be shown.
func newInspector(ctx context.Context, r *rig) (*inspector, error) {
	i := &inspector{
		rig: r, secrets: map[string]string{"password of a peer": canary}, read: map[string]int64{},
		passes: map[string][2]float64{}, sizes: map[string]Size{}, lives: map[string]life{},
	}
	secret, err := r.Cluster.Client().CoreV1().Secrets(lab.HeraldNamespace).Get(ctx, "memberlist", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	for name, value := range secret.Data {
		i.secrets["gossip key, "+name] = string(value)
		i.secrets["gossip key, "+name+", in base64"] = base64.StdEncoding.EncodeToString(value)
	}
	return i, nil
}

// inspect looks at each process.
func (i *inspector) inspect(ctx context.Context, limits Limits) ([]Violation, error) {
	var found []Violation
	for part, d := range i.rig.daemons() {
		page, err := d.Get(ctx, "/metrics")
		if err != nil {
			return nil, err
		}
		found = append(found, i.leaks("metrics of "+part, []byte(page))...)
		m := metrics(page)
		found = append(found, grown(part, m, i.passes, limits)...)
		i.sizes[part], i.lives[part] = sized(i.sizes[part], i.lives[part], m)
		if !strings.HasPrefix(part, "frr-") {
			page, err := d.Get(ctx, "/status")
			if err != nil {
				return nil, err
			}
			found = append(found, i.leaks("status of "+part, []byte(page))...)
		}
		text, err := i.more(i.rig.logOf(part))
		if err != nil {
			return nil, err
		}
		found = append(found, i.leaks("log of "+part, text)...)
	}
	said, err := i.objects(ctx)
	if err != nil {
		return nil, err
	}
	for what, text := range said {
		found = append(found, i.leaks(what, text)...)
	}
	return found, nil
}

// objects returns what Herald has written to the API server.
func (i *inspector) objects(ctx context.Context) (map[string][]byte, error) {
	all := map[string][]byte{}
	rest := i.rig.Cluster.Client().CoreV1().RESTClient()
	for what, path := range map[string]string{
		"events": "/api/v1/events", "Services": "/api/v1/services", "Nodes": "/api/v1/nodes",
		"pools": "/apis/metallb.io/v1beta1/ipaddresspools", "peers": "/apis/metallb.io/v1beta2/bgppeers",
		"ConfigurationStates": "/apis/metallb.io/v1beta1/configurationstates",
		"ServiceBGPStatuses":  "/apis/metallb.io/v1beta1/servicebgpstatuses",
		"ServiceL2Statuses":   "/apis/metallb.io/v1beta1/servicel2statuses",
	} {
		text, err := rest.Get().AbsPath(path).DoRaw(ctx)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err)
		}
		all[what] = text
	}
	return all, nil
}

// more returns what has come to a log since the last call, and a bit before.
func (i *inspector) more(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const overlap = 256 // a secret may be half there
	if _, err := f.Seek(max(0, i.read[path]-overlap), io.SeekStart); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(f)
	i.read[path] = max(0, i.read[path]-overlap) + int64(len(text))
	return text, err
}

// leaks finds secrets in a text.
func (i *inspector) leaks(where string, text []byte) []Violation {
	return leaks(i.secrets, where, text)
}

func leaks(secrets map[string]string, where string, text []byte) []Violation {
	var found []Violation
	for _, what := range slices.Sorted(maps.Keys(secrets)) {
		at := bytes.Index(text, []byte(secrets[what]))
		if secrets[what] == "" || at < 0 {
			continue
		}
		from := bytes.LastIndexByte(text[:at], '\n') + 1
		found = append(found, Violation{Invariant: InvariantSecret, Subject: where, Time: time.Now(),
			Evidence: fmt.Sprintf("it has the %s, behind %q", what, text[max(from, at-100):at])})
	}
	return found
}

// metrics reads the lines of a page that have no labels.
func metrics(page string) map[string]float64 {
	all := map[string]float64{}
	for line := range strings.Lines(page) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] = n
		}
	}
	return all
}

// grown compares a process with limits. before has the passes of each process when it
// was seen last, and is brought up to date.
func grown(name string, m map[string]float64, before map[string][2]float64, limits Limits) []Violation {
	var found []Violation
	exceeds := func(format string, args ...any) {
		found = append(found, Violation{Invariant: InvariantGrowth, Subject: name, Time: time.Now(), Evidence: fmt.Sprintf(format, args...)})
	}
	if n := int64(m["process_resident_memory_bytes"]); n > limits.Memory {
		exceeds("it has %d MiB of memory, more than %d", n>>20, limits.Memory>>20)
	}
	if n := int(m["process_open_fds"]); n > limits.Files {
		exceeds("it has %d open files, more than %d", n, limits.Files)
	}
	if n := int(m["go_goroutines"]); n > limits.Routines {
		exceeds("it has %d goroutines, more than %d", n, limits.Routines)
	}
	now := [2]float64{m["herald_pass_duration_seconds_count"], m["herald_pass_duration_seconds_sum"]}
	was := before[name]
	if now[0] < was[0] {
		was = [2]float64{} // it was started again
	}
	before[name] = now
	if n := now[0] - was[0]; n >= 10 {
		if mean := time.Duration((now[1] - was[1]) / n * float64(time.Second)); mean > limits.Pass {
			exceeds("a pass took %v, more than %v, in the mean of %.0f", mean, limits.Pass, n)
		}
	}
	return found
}
