// gRPC over a Unix socket behind the suite's interface: a unary call of bytes, without protobuf, which would come on top. The client calls
// as generated stubs do, blocking; the server takes one call at a time from a completion queue on the measured thread.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>
#include <grpcpp/impl/codegen/rpc_method.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "scratch.h"
#include "suite_rivals.h"

namespace bench {

namespace {

constexpr const char* kMethod = "/bench.Echo/Echo";

std::chrono::system_clock::time_point in_seconds(int seconds) {
  return std::chrono::system_clock::now() + std::chrono::seconds(seconds);
}

// Visits the bytes of a message, which are in one piece when they are few.
template <class Each>
void visit(const grpc::ByteBuffer& buffer, Each&& each) {
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) fail("gRPC: a message that cannot be read");
  if (slices.size() == 1) {
    each(std::as_bytes(std::span(slices.front().begin(), slices.front().size())));
    return;
  }
  std::vector<std::byte> whole;
  for (const grpc::Slice& slice : slices) {
    const auto part = std::as_bytes(std::span(slice.begin(), slice.size()));
    whole.insert(whole.end(), part.begin(), part.end());
  }
  each(Bytes(whole));
}

class GrpcClient {
 public:
  explicit GrpcClient(const std::string& address)
      : channel_(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments())) {
    channel_->GetState(true);  // connects; the first call waits for it, as the server takes part only while it is polled
  }
  template <class Each>
  void call(Bytes message, Each&& each) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(in_seconds(10));
    const grpc::Slice slice(message.data(), message.size());
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer reply;
    const grpc::Status status = grpc::internal::BlockingUnaryCall(channel_.get(), method_, &context, request, &reply);
    if (!status.ok()) fail("gRPC: %s", status.error_message().c_str());
    visit(reply, each);
  }

 private:
  static grpc::ChannelArguments arguments() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 10);  // the server is made at the same time
    return arguments;
  }
  std::shared_ptr<grpc::Channel> channel_;
  grpc::internal::RpcMethod method_{kMethod, grpc::internal::RpcMethod::NORMAL_RPC};
};

class GrpcServer {
 public:
  explicit GrpcServer(const std::string& address) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterAsyncGenericService(&service_);
    queue_ = builder.AddCompletionQueue();
    server_ = builder.BuildAndStart();
    if (!server_) fail("gRPC: cannot listen at %s", address.c_str());
    expect_call();
  }
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;
  ~GrpcServer() {
    server_->Shutdown(in_seconds(1));
    queue_->Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_->Next(&tag, &ok)) delete static_cast<Step*>(tag);
  }

  // One event of the queue. A call goes through three: it is there, its request is there, it has been answered.
  template <class Each>
  std::size_t poll(Each&& each) {
    void* tag = nullptr;
    bool ok = false;
    if (!queue_->Next(&tag, &ok)) fail("gRPC: the server has stopped");
    const std::unique_ptr<Step> step(static_cast<Step*>(tag));
    if (!ok) return 0;
    Call& call = *step->call;
    switch (step->what) {
      case What::arrived:
        expect_call();
        call.stream.Read(&call.request, new Step{What::read, step->call});
        return 0;
      case What::read:
        visit(call.request, each);
        call.stream.WriteAndFinish(call.request, grpc::WriteOptions(), grpc::Status::OK, new Step{What::answered, step->call});
        return 1;
      case What::answered: return 0;
    }
    return 0;
  }

 private:
  struct Call {
    grpc::GenericServerContext context;
    grpc::GenericServerAsyncReaderWriter stream{&context};
    grpc::ByteBuffer request;
  };
  enum class What { arrived, read, answered };
  struct Step {
    What what;
    std::shared_ptr<Call> call;
  };

  void expect_call() {
    auto call = std::make_shared<Call>();
    Call& it = *call;
    service_.RequestCall(&it.context, &it.stream, queue_.get(), queue_.get(), new Step{What::arrived, std::move(call)});
  }

  grpc::AsyncGenericService service_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
};

// gRPC is first touched in the children: its threads do not survive a fork.
class GrpcEcho {
 public:
  explicit GrpcEcho(const Shape&) {}

  class End {
   public:
    End(const std::string& address, std::size_t role) {
      if (role == 0)
        client_ = std::make_unique<GrpcClient>(address);
      else
        server_ = std::make_unique<GrpcServer>(address);
    }
    bool try_send(Bytes message) {
      if (client_) request_.assign(message.begin(), message.end());  // the source makes others in its place
      return true;
    }
    template <class Each>
    std::size_t poll(Each&& each) {
      if (server_) return server_->poll(each);
      client_->call(request_, each);
      return 1;
    }

   private:
    std::unique_ptr<GrpcClient> client_;
    std::unique_ptr<GrpcServer> server_;
    std::vector<std::byte> request_;
  };
  End end(std::size_t role) { return {"unix:" + scratch_.path() + "/socket", role}; }

 private:
  ScratchDirectory scratch_;
};

}  // namespace

Contestant grpc_echo(std::size_t bytes) { return contestant<WithThreads<RoundTrip<GrpcEcho>>>("gRPC", {bytes}); }

}  // namespace bench
