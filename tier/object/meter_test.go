package object_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firnlog/firn/tier/object"
)

func TestMetered(t *testing.T) {
	reg := prometheus.NewRegistry()
	base := newScripted(t)
	s := object.Metered(base, "dir", reg)
	object.Metered(newScripted(t), "s3", reg) // two stores in one registry
	ctx := t.Context()
	for _, key := range []string{"a", "b"} {
		if _, err := s.Put(ctx, key, bytes.NewReader(make([]byte, 100)), 100, object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	s.Put(ctx, "a", bytes.NewReader(nil), 0, object.PutOptions{IfNoneMatch: true})
	r, err := s.Get(ctx, "a", 10, 30)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, r)
	r.Close()
	r.Close()
	s.Get(ctx, "none", 0, -1)
	s.List(ctx, "", "", func(object.Info) error { return object.ErrStop })
	base.delete = func([]string) error {
		return &object.DeleteError{Failed: map[string]error{"b": object.ErrThrottled}}
	}
	s.Delete(ctx, []string{"a", "b"})
	got := gather(t, reg)
	for line, want := range map[string]float64{
		`firn_object_bytes_total{direction=received,store=dir}`:              30,
		`firn_object_bytes_total{direction=sent,store=dir}`:                  200,
		`firn_object_deleted_keys_total{store=dir}`:                          1,
		`firn_object_deleted_keys_total{store=s3}`:                           0,
		`firn_object_operations_total{op=delete,result=throttled,store=dir}`: 1,
		`firn_object_operations_total{op=get,result=not_exist,store=dir}`:    1,
		`firn_object_operations_total{op=get,result=ok,store=dir}`:           1,
		`firn_object_operations_total{op=list,result=ok,store=dir}`:          1,
		`firn_object_operations_total{op=put,result=exists,store=dir}`:       1,
		`firn_object_operations_total{op=put,result=ok,store=dir}`:           2,
		`firn_object_operation_seconds{op=put,store=dir}`:                    3,
		`firn_object_operation_seconds{op=get,store=dir}`:                    2,
	} {
		if v, ok := got[line]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", line, v, ok, want)
		}
	}
}

// gather gives each counter's value and each histogram's count by name and labels.
func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			line := f.GetName() + "{" + strings.Join(labels, ",") + "}"
			got[line] = m.GetCounter().GetValue()
			if h := m.GetHistogram(); h != nil {
				got[line] = float64(h.GetSampleCount())
			}
		}
	}
	return got
}
