using System.Net;
using System.Net.Sockets;
using Dmb.Transport;

namespace Dmb.Tests.Transport;

/// <summary>What an exception on a thread of the socket engine does.</summary>
public sealed class SocketReceiveTests
{
    [Fact]
    public async Task An_exception_on_the_thread_of_the_socket_engine_ends_its_connection_and_not_the_process()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await client.ConnectAsync(listener.LocalEndPoint!);
        using var server = await listener.AcceptAsync();
        using var receive = new Failing();

        Assert.True(receive.Begin(server, new byte[1]));
        await client.SendAsync(new byte[1]);

        Assert.IsType<InsufficientMemoryException>(await receive.Failure.WaitAsync(Node.Patience));
    }

    private sealed class Failing : SocketReceive
    {
        private readonly TaskCompletionSource<Exception> _failure = new(
            TaskCreationOptions.RunContinuationsAsynchronously
        );

        public Task<Exception> Failure => _failure.Task;

        protected override void Complete() => throw new InsufficientMemoryException();

        protected override void Fail(Exception failure) => _failure.SetResult(failure);
    }
}
