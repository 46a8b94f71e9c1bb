package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/topic"
)

// DeleteTopics 1-6, by name and, from 6, by id. The topic is gone with the answer; its archived objects are freed after
// firn.remote.delete.delay.ms.
//
// Deliberate gaps: none.
var deleteTopicsHandler = handler{20, 1, 6, blocking((*API).deleteTopics)}

// topicName is how a request names a topic: by name, or by id.
type topicName struct {
	name string
	id   topic.ID
}

func (a *API) deleteTopics(ctx context.Context, req *kmsg.DeleteTopicsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	ctx, cancel := deadline(ctx, req.TimeoutMillis)
	defer cancel()
	if !a.Configs.Values().DeleteTopics {
		return refuseDeletion(req, resp)
	}
	wanted, errs := deleteNames(req)
	img := a.Cluster.Image()
	times := map[topic.ID]int{}
	topics := make([]*metadata.Topic, len(wanted))
	for i, w := range wanted {
		if errs[i] != nil {
			continue
		}
		if w.name != "" {
			topics[i], errs[i] = img.TopicByName(w.name), kerr.UnknownTopicOrPartition
		} else {
			topics[i], errs[i] = img.TopicByID(w.id), kerr.UnknownTopicID
		}
		if topics[i] != nil {
			errs[i] = nil
			times[topics[i].ID]++
		}
	}
	for i, w := range wanted {
		t := topics[i]
		switch {
		case t == nil:
		case times[t.ID] > 1:
			errs[i] = refuse(kerr.InvalidRequest, "the topic is named more than once in this request")
		default:
			errs[i] = a.Cluster.Commit(ctx, metadata.DeleteTopic{ID: t.ID})[0]
			w.id = t.ID
			w.name = t.Name // with a right answer clients expect both
		}
		out := kmsg.NewDeleteTopicsResponseTopic()
		out.TopicID, out.ErrorCode, out.ErrorMessage = w.id, code(errs[i]), message(errs[i])
		if w.name != "" || w.id.IsZero() {
			out.Topic = &w.name
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// deleteNames reads both forms of the request.
func deleteNames(req *kmsg.DeleteTopicsRequest) (wanted []topicName, errs []error) {
	if req.Version < 6 {
		for _, n := range req.TopicNames {
			wanted, errs = append(wanted, topicName{name: n}), append(errs, nil)
			if n == "" {
				errs[len(errs)-1] = kerr.UnknownTopicOrPartition
			}
		}
		return wanted, errs
	}
	for _, t := range req.Topics {
		w, err := topicName{id: t.TopicID}, error(nil)
		if t.Topic != nil {
			w.name = *t.Topic
		}
		switch id := topic.ID(t.TopicID); {
		case t.Topic != nil && !id.IsZero():
			err = refuse(kerr.InvalidRequest, "a topic is named by name or by id, not both")
		case t.Topic == nil && id.IsZero():
			err = refuse(kerr.InvalidRequest, "a topic needs a name or an id")
		case t.Topic != nil && *t.Topic == "":
			err = kerr.UnknownTopicOrPartition
		}
		wanted, errs = append(wanted, w), append(errs, err)
	}
	return wanted, errs
}

// refuseDeletion answers while delete.topic.enable is false, in the words that the client's version knows.
func refuseDeletion(req *kmsg.DeleteTopicsRequest, resp *kmsg.DeleteTopicsResponse) kmsg.Response {
	err := refuse(kerr.TopicDeletionDisabled, "topics cannot be deleted while delete.topic.enable is false")
	if req.Version < 3 {
		err = refuse(kerr.InvalidRequest, err.Error())
	}
	wanted, _ := deleteNames(req)
	for _, w := range wanted {
		out := kmsg.NewDeleteTopicsResponseTopic()
		out.TopicID, out.ErrorCode, out.ErrorMessage = w.id, code(err), message(err)
		if w.name != "" || w.id.IsZero() {
			out.Topic = &w.name
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}
