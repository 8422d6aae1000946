/* SPDX-License-Identifier: MIT
 * What the files of the link share. Nothing else includes it. All of it is the link's thread's, but what
 * stands under the lock. */
#ifndef RABBITMQ_LINK_INSIDE_H
#define RABBITMQ_LINK_INSIDE_H

#include "rabbitmq.h"

#define RABBIT_RETRY_FIRST_US (RABBIT_SECOND / 2)
#define RABBIT_RETRY_MOST_US  (30 * RABBIT_SECOND)

enum rabbit_phase {
    RABBIT_CLOSED,
    RABBIT_OPENING, /* requests are under way, one after the other */
    RABBIT_OPEN,    /* consuming */
    RABBIT_CLOSING  /* until the broker says that it gave back what was out */
};

/* While a channel to a stream is opening, once it is declared. */
enum rabbit_stream_step {
    RABBIT_STREAM_NEW,
    RABBIT_STREAM_ASKED,   /* the host says where to begin */
    RABBIT_STREAM_PROBING, /* its last chunk was asked for */
    RABBIT_STREAM_PROBED,  /* it comes; an answer behind it was asked for */
    RABBIT_STREAM_SET      /* the consumer that stays was asked for */
};

/* One queue on the present connection. Nothing waits for an answer but the phase: other queues go on,
 * and what comes for them meanwhile does not pile up in librabbitmq. */
struct rabbit_channel {
    size_t queue;
    enum rabbit_phase phase;
    amqp_channel_t number;    /* while not closed; never used again on this connection */
    int64_t answer_us;        /* while opening or closing: when the broker must have answered */
    uint64_t generation;
    struct rabbit_lane *lane; /* while open; of a stream from when it was asked where to begin */
    int64_t depth;            /* while opening */
    uint32_t others;    /* consumers of the queue besides this one, as last told */
    bool left;          /* what was out on the channel before may not be back in the queue yet */
    bool left_some;     /* it is known that something was out */
    int64_t left_us;    /* while opening: since when its return is waited for */
    int64_t declare_us; /* while opening: when to ask for it again; 0: not */
    enum rabbit_stream_step step;
    bool seems_stream;     /* a message says so, which anyone may write; see on_depth */
    bool probes;           /* while opening: a stream is looked at that is empty so far */
    bool resumed;          /* a stream goes on with `begin`, and nothing of it came yet */
    uint64_t begin;
    int64_t first_us;      /* while so: when to ask again for what did not come; 0: nothing must */
    uint64_t newest;       /* of a stream: what was delivered last, if `delivered` */
    bool delivered;
    int64_t moved_us;      /* when that was, or when what was acknowledged made room for more */
    unsigned begun_behind, begun_silent; /* tries in a row that did not begin at `begin` */
    uint64_t probe_tag, probe_newest;
    struct rabbit_tags tags;
    unsigned prefetch;  /* becomes smaller where messages are large */
    bool overflowing;   /* what still comes stays at the broker, see begin_overflow */
    bool giving_back;   /* the host was asked to let go of it */
    int64_t cut_us;     /* while so: when it is given back in any case */
    int64_t singles_us; /* when to acknowledge what is done behind a gap; 0: nothing is */
    int64_t retry_us;   /* while closed: when to try again */
    unsigned tries;
    bool asked_depth;
    uint32_t problem;   /* enum sluice_state; 0: none */
    char problem_text[RABBIT_TEXT];
    /* The delivery that is coming in: its method, its header, then its body. */
    bool in_delivery;
    struct rabbit_origin origin;
    char exchange[256], routing_key[256];
    struct rabbit_message *partial;
    size_t body_at;
    struct rabbit_list incoming; /* not yet handed over */
};

/* The look at where streams end, see link_look.c. */
enum rabbit_look_step {
    RABBIT_LOOK_RESTS,
    RABBIT_LOOK_OPENS,
    RABBIT_LOOK_READS, /* the last chunk comes */
    RABBIT_LOOK_ENDS   /* its consumer was cancelled */
};

struct rabbit_look {
    amqp_channel_t number; /* 0: not open */
    enum rabbit_look_step step;
    size_t queue;          /* looked at, or last */
    int64_t due_us;        /* while it rests: of the next one */
    int64_t answer_us;     /* else: when the broker must have answered */
    uint64_t tag, newest;  /* of the message that came last, if `any` did */
    uint64_t bytes;        /* that came in all */
    bool consumes, any;
};

struct rabbit_link {
    struct rabbit_config *config;
    char *name;
    size_t bytes;
    pthread_t thread;
    int wake_fd; /* the host's side's */
    int work_fd; /* ours */
    bool started;
    atomic_bool stop; /* acknowledge, close, end */
    atomic_bool quit; /* end at once */

    /* Under the lock: */
    pthread_mutex_t lock;
    pthread_cond_t ended_cond;
    struct rabbit_event *events, **events_end;
    struct rabbit_settlement *settlements;
    size_t settlement_count, settlement_room;
    bool ended, abandoned;

    amqp_channel_t next_number;
    unsigned tries;
    amqp_connection_state_t connection; /* NULL: none */
    struct rabbit_channel *channels;    /* one for each queue */
    uint64_t generation;
    size_t host; /* tried next */
    int64_t delivery_limit; /* of its quorum queues, as far as it is known; RABBIT_NO_LIMIT */
    char product[48];       /* what the broker calls itself, with its version */
    int64_t retry_us;
    int64_t connected_us;
    int64_t handed_us;               /* when messages were last handed over */
    int64_t depth_us;                /* when to ask for the queues' depths */
    struct rabbit_look look;
    struct rabbit_settlement *later; /* releases that are not due */
    size_t later_count, later_room;
    char session[RABBIT_SESSION]; /* names the connection */
    char state_text[RABBIT_TEXT]; /* of the state told last */
};

/* link.c */
void link_tell(struct rabbit_link *link, enum rabbit_event_kind kind, uint32_t number,
               struct rabbit_lane *lane, const char *name, const char *text);
void link_state(struct rabbit_link *link, uint32_t state, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void link_log(struct rabbit_link *link, uint32_t level, const char *event, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* There is news for the host's side. */
void link_wake(struct rabbit_link *link);
/* There is work for the thread. Any thread. */
void link_wake_thread(const struct rabbit_link *link);
/* Starts a thread, which stops at `stop`. 0; or an errno. */
int link_start_thread(struct rabbit_link *link, int wake_fd, void *(*function)(void *),
                      void *argument);
/* The last that the thread does with the link; true: it was left behind, and has to free it. */
bool link_end_thread(struct rabbit_link *link);

/* Frees a link whose thread was left behind, with all that the host's side did not take. */
void link_free_abandoned(struct rabbit_link *link);

/* link_thread.c: what a thread that consumes does, for `link_start_thread`; the argument is the link. */
void *link_run(void *link);

/* link_settle.c: takes what the host's side settled, and what is due of that; without a connection it is void. -1:
 * the connection failed. */
int link_settle(struct rabbit_link *link);

/* link_connect.c */
/* Tries all hosts once. 0; or -1 with a state told. */
int link_connect(struct rabbit_link *link);
/* Ends the connection: all lanes are lost. `polite`: by the protocol, where the peer answers. */
void link_disconnect(struct rabbit_link *link, bool polite);
/* The connection failed: told, and planned anew. */
void link_failed(struct rabbit_link *link, const char *why);
void link_set_rpc_timeout(struct rabbit_link *link, amqp_connection_state_t connection,
                          int64_t timeout_us);
/* What a server said when it closed something; the text is for people. */
struct link_refusal {
    int code; /* AMQP reply code; 0: it did not say */
    char text[256];
};
void link_read_refusal(const amqp_rpc_reply_t *reply, struct link_refusal *ret_refusal);
void link_copy_text(amqp_bytes_t bytes, char *text, size_t room);

/* link_channel.c */
/* Begins to consume what is due, and gives up what got no answer; -1: the connection failed. */
int channel_open_due(struct rabbit_link *link);
/* The next step of one that is opening or closing. -1: the connection failed. */
int channel_on_answer(struct rabbit_link *link, struct rabbit_channel *channel,
                      const amqp_method_t *method);
/* Its lane is lost. `close`: the broker is told, and answers. -1: the connection failed. */
int channel_end(struct rabbit_link *link, struct rabbit_channel *channel, bool close);
/* Ends one that holds nothing of ours, to begin anew at once. -1: the connection failed. */
int channel_open_again(struct rabbit_link *link, struct rabbit_channel *channel);
int channel_acknowledge(struct rabbit_link *link, struct rabbit_channel *channel, bool all);
/* Makes its lane, and tells the host's side. */
void channel_make_lane(struct rabbit_link *link, struct rabbit_channel *channel);
/* It is consumed. */
void channel_opened(struct rabbit_link *link, struct rabbit_channel *channel);
/* Acknowledges what is done and gives the rest back; consumed anew as soon as the queue has it. -1: the
 * connection failed. */
int channel_let_go(struct rabbit_link *link, struct rabbit_channel *channel);
/* Sends a method. -1: the connection failed. */
int channel_request(struct rabbit_link *link, const struct rabbit_channel *channel,
                    amqp_method_number_t id, void *method);
/* Asks the host to let go of the lane; the channel is ended when it has, or when the broker's patience
 * with the oldest message that is out ends. */
void channel_give_back(struct rabbit_link *link, struct rabbit_channel *channel);
/* Takes note of what the broker said when it closed the channel, and plans the next try. */
void channel_refused(struct rabbit_link *link, struct rabbit_channel *channel, int code,
                     const char *why);
/* Tells the state that all channels together come to. */
void channel_tell_state(struct rabbit_link *link);
struct rabbit_channel *channel_of_generation(struct rabbit_link *link, uint64_t generation);

/* link_stream.c: values of x-stream-offset: `first`, `last` or `next`; an offset; seconds since 1970 */
amqp_field_value_t stream_at_word(const char *word);
amqp_field_value_t stream_at_number(uint64_t number);
amqp_field_value_t stream_at_time(uint64_t seconds);
/* -1: the connection failed */
int stream_declared(struct rabbit_link *link, struct rabbit_channel *channel);
/* The host's word on where to begin: with `position`, or where the configuration says. */
int stream_begin(struct rabbit_link *link, struct rabbit_channel *channel, bool known,
                 uint64_t position);
/* What else comes while it is opening. */
int stream_answered(struct rabbit_link *link, struct rabbit_channel *channel,
                    const amqp_method_t *method);
int stream_probed(struct rabbit_link *link, struct rabbit_channel *channel,
                  const amqp_basic_properties_t *properties);
/* Whether the first delivery comes from behind where it was to begin, though what is before it may be
 * there: it has to be asked for again. */
bool stream_began_behind(const struct rabbit_channel *channel, uint64_t offset);
/* Asks again where the message that was read last is not delivered in time. */
int stream_watch_first(struct rabbit_link *link, struct rabbit_channel *channel);
/* Whether a delivery is for the host. */
bool stream_wants(struct rabbit_link *link, struct rabbit_channel *channel, uint64_t offset);

/* link_look.c; -1: the connection failed */
/* Begins what is due, and gives up what got no answer. */
int look_due(struct rabbit_link *link, int64_t *ret_at_us);
/* A frame on its channel. */
int look_on_frame(struct rabbit_link *link, const amqp_frame_t *frame);

#define RABBIT_NO_STREAM_TEXT "it is no stream: leave out stream_offset"

/* link_frames.c */
/* Reads what there is. 1: there may be more; -1: the connection failed, and was dealt with. */
int frames_read(struct rabbit_link *link);
/* Hands over what came in, and returns how many messages that were. */
size_t frames_hand_over(struct rabbit_link *link);

#endif
