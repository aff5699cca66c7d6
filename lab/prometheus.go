// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/heraldlb/herald/lab/process"
)

// prometheusAddress is where it listens, inside its machine.
const prometheusAddress = "127.0.0.1:19090"

// A Prometheus scrapes Herald's daemons once a second, and evaluates rules as often.
type Prometheus struct {
	client  *http.Client
	process *process.Process
}

// A Sample is one series of an answer: its labels, and how many values it has.
type Sample struct {
	Labels map[string]string
	Values int
}

// An Alert is one that fires, or that is about to.
type Alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// StartPrometheus starts a Prometheus on n1, from where all daemons are reached. Its series
// have the labels that the chart's PodMonitors give them. The caller stops it.
func (s *Stack) StartPrometheus(ctx context.Context, rules ...string) (*Prometheus, error) {
	n := s.Nodes[0]
	dir := n.Path("prometheus")
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	config, err := yaml.Marshal(map[string]any{
		"global":         map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
		"rule_files":     rules,
		"scrape_configs": []any{map[string]any{"job_name": "herald", "static_configs": s.targets()}},
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, config, 0o644); err != nil {
		return nil, err
	}
	p := &Prometheus{client: n.httpClient()}
	p.process, err = n.Start(process.Options{Path: "prometheus", Args: []string{
		"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + prometheusAddress,
	}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err = process.PollWhile(ctx, p.process, func() error {
		all, err := p.Query(ctx, "up", time.Time{})
		if err == nil && len(all) == 0 {
			err = fmt.Errorf("nothing is scraped yet")
		}
		return err
	})
	if err != nil {
		p.Stop()
		return nil, fmt.Errorf("start prometheus: %w", err)
	}
	return p, nil
}

// targets are the daemons, with their labels.
func (s *Stack) targets() (out []any) {
	add := func(d *Daemon, labels map[string]string) {
		labels["namespace"] = HeraldNamespace
		out = append(out, map[string]any{"targets": []string{strings.TrimPrefix(d.url, "http://")}, "labels": labels})
	}
	for _, c := range s.Controllers {
		add(c, map[string]string{"pod": "herald-" + c.Name, "container": controllerContainer})
	}
	for _, n := range s.Nodes {
		add(s.Agent(n), map[string]string{"pod": AgentPod(n), "container": agentContainer, "node": n.Name})
		if n.Sidecar != nil {
			add(&n.Sidecar.Daemon, map[string]string{"pod": AgentPod(n), "container": sidecarContainer, "node": n.Name})
		}
	}
	return out
}

// Stop ends it.
func (p *Prometheus) Stop() { p.process.Stop() }

// Query evaluates an expression: now, or, since a time, once a second.
func (p *Prometheus) Query(ctx context.Context, expr string, since time.Time) ([]Sample, error) {
	path, form := "query", url.Values{"query": {expr}}
	if !since.IsZero() {
		seconds := func(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
		path = "query_range"
		form.Set("start", seconds(since))
		form.Set("end", seconds(time.Now()))
		form.Set("step", "1")
	}
	var data struct {
		Result []struct {
			Metric map[string]string
			Values []any
		}
	}
	if err := p.get(ctx, path+"?"+form.Encode(), &data); err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	var out []Sample
	for _, r := range data.Result {
		out = append(out, Sample{r.Metric, max(len(r.Values), 1)})
	}
	return out, nil
}

// Alerts returns those that fire, and those that will if nothing changes.
func (p *Prometheus) Alerts(ctx context.Context) ([]Alert, error) {
	var data struct{ Alerts []Alert }
	err := p.get(ctx, "alerts", &data)
	return data.Alerts, err
}

// get asks the API.
func (p *Prometheus) get(ctx context.Context, path string, data any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+prometheusAddress+"/api/v1/"+path, nil)
	if err != nil {
		return err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("status %s: %w", resp.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("prometheus: %s", answer.Error)
	}
	return nil
}
