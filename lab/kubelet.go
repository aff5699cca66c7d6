// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/heraldlb/herald/lab/process"
)

// A kubelet says in the status of the agent's pod on a node whether the agent runs.
type kubelet struct {
	runs atomic.Pointer[process.Process]
	mu   sync.Mutex // held while that is written, so that the last word is the newest
}

// started takes in that the agent of a node runs, until it ends.
func (s *Stack) started(k *kubelet, n *Node, p *process.Process) {
	k.runs.Store(p)
	go func() {
		s.sayReady(k, n, p, "True")
		<-p.Done()
		s.sayReady(k, n, p, "False")
	}()
}

// sayReady writes whether the pod is ready, unless another process runs by then. It tries
// until the API server answers.
func (s *Stack) sayReady(k *kubelet, n *Node, p *process.Process, ready string) {
	patch := fmt.Appendf(nil, `{"status": {"conditions": [{"type": "Ready", "status": %q}]}}`, ready)
	say := func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.runs.Load() != p {
			return true
		}
		ctx, cancel := context.WithTimeout(s.life, time.Second)
		defer cancel()
		_, err := s.Cluster.Client().CoreV1().Pods(HeraldNamespace).
			Patch(ctx, AgentPod(n), types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		return err == nil
	}
	for !say() {
		select {
		case <-s.life.Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}
