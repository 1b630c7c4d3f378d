// The whole public API.
#pragma once

#include "arus/bus.h"
#include "arus/config.h"
#include "arus/consumer.h"
#include "arus/group.h"
#include "arus/producer.h"
#include "arus/record.h"
#include "arus/request_reply.h"
#include "arus/result.h"
#include "arus/rpc.h"
#include "arus/share.h"
#include "arus/topic.h"
