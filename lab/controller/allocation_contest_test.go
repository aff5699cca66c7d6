// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/lab"
	"github.com/heraldlb/herald/lab/process"
)

// poolStatusWrites returns how often the controller has written the status of a
// pool.
func (a *allocation) poolStatusWrites() int {
	a.t.Helper()
	for line := range strings.Lines(a.page("/metrics")) {
		if value, ok := strings.CutPrefix(line, `herald_api_writes_total{resource="ipaddresspools/status",verb="patch"} `); ok {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				a.t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// page returns what the controller serves.
func (a *allocation) page(path string) string {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, "http://127.0.0.1:7489"+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(b)
}

// undo writes a status as MetalLB's controller does, in a loop: its numbers, and
// no conditions.
func (a *allocation) undo(ctx context.Context, pool string) {
	path := "/apis/metallb.io/v1beta1/namespaces/" + lab.HeraldNamespace + "/ipaddresspools/" + pool + "/status"
	patch := []byte(`{"status":{"conditions":null,"inForce":null,"assignedIPv4":65,"assignedIPv6":0,"availableIPv4":0,"availableIPv6":0}}`)
	for ctx.Err() == nil {
		a.cluster.Client().CoreV1().RESTClient().Patch(types.MergePatchType).AbsPath(path).Param("fieldManager", "controller").Body(patch).Do(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// contest has another controller undo what Herald writes to the status of a pool.
// Herald says who it is, once, and holds back.
func (a *allocation) contest() {
	a.t.Helper()
	ctx, stop := context.WithCancel(a.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.undo(ctx, "open")
	}()
	defer func() {
		stop()
		<-done
	}()
	told := func() (messages []string) {
		list, err := a.cluster.Client().CoreV1().Events(lab.HeraldNamespace).List(ctx, metav1.ListOptions{
			FieldSelector: fields.Set{"reason": "StatusContested"}.AsSelector().String(),
		})
		if err != nil {
			a.t.Fatal(err)
		}
		for _, e := range list.Items {
			messages = append(messages, e.InvolvedObject.Kind+"/"+e.InvolvedObject.Name+": "+e.Message)
		}
		return messages
	}
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := process.Poll(wait, 100*time.Millisecond, func() error {
		if len(told()) == 0 {
			return errors.New("no event reports it")
		}
		return nil
	}); err != nil {
		a.t.Fatal(err)
	}
	before := a.poolStatusWrites()
	select {
	case <-ctx.Done():
	case <-time.After(8 * time.Second):
	}
	// After 2 s, and 4 s after that. Once a second it would be 8.
	if n := a.poolStatusWrites() - before; n > 3 {
		a.t.Errorf("%d writes in 8 s against another writer, want 3 at most", n)
	}
	const want = "IPAddressPool/open: another controller (field manager controller) writes the status of IPAddressPool open"
	if all := told(); len(all) != 1 || !strings.HasPrefix(all[0], want) {
		a.t.Errorf("events are %q, want one that starts with %q", all, want)
	}
	var page struct {
		Contests []struct{ Kind, Name, Writer string }
	}
	if err := json.Unmarshal([]byte(a.page("/status")), &page); err != nil || len(page.Contests) != 1 || page.Contests[0].Writer != "controller" {
		a.t.Errorf("the status page says %+v, %v", page, err)
	}
}
