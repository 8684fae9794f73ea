using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using Dmb.Redis;

namespace Dmb.Tests.Redis;

/// <summary>
/// Calls reach Redis in the order in which they were made, also where it has forgotten their script. The test answers in
/// place of Redis, so that it decides when.
/// </summary>
public sealed class RedisPipelineTests
{
    private const string Forgotten = "-NOSCRIPT No matching script.\r\n";
    private const string Done = ":1\r\n";

    [Fact]
    public async Task A_call_whose_script_is_forgotten_is_made_again_before_those_that_wait()
    {
        await using var server = await Server.StartAsync();
        server.Call("a", "b", "c");
        Assert.Equal("EVALSHA a", await server.AnswerNextAsync(Forgotten));
        Assert.Equal("EVAL a", await server.AnswerNextAsync(Done));
        Assert.Equal("EVALSHA b", await server.AnswerNextAsync(Done));
        Assert.Equal("EVALSHA c", await server.AnswerNextAsync(Done));
        await server.AllDoneAsync();
    }

    [Fact]
    public async Task Calls_that_are_under_way_together_are_made_again_in_their_order_before_those_that_wait()
    {
        await using var server = await Server.StartAsync();
        server.Call("a", "b", "c");
        Assert.Equal("EVALSHA a", await server.AnswerNextAsync(Done));
        Assert.Equal("EVALSHA b", await server.AnswerNextAsync(Forgotten));
        server.Call("d");
        Assert.Equal("EVALSHA c", await server.AnswerNextAsync(Forgotten));
        Assert.Equal("EVAL b", await server.AnswerNextAsync(Done));
        Assert.Equal("EVAL c", await server.AnswerNextAsync(Done));
        Assert.Equal("EVALSHA d", await server.AnswerNextAsync(Done));
        await server.AllDoneAsync();
    }

    [Fact]
    public async Task Answers_that_are_read_after_a_write_has_failed_are_no_fault_and_the_end_is_told_once()
    {
        await using var server = await Server.StartAsync();
        server.Call("a");
        server.WritesFail();
        server.Call("b");
        Assert.Equal("EVALSHA a", await server.AnswerNextAsync(Done));
        Assert.Equal("EVALSHA b", await server.AnswerNextAsync(Done));
        await server.AnswersAreReadAsync(2);
        Assert.Single(server.Ends);
        await Assert.ThrowsAsync<IOException>(server.AllDoneAsync);
    }

    /// <summary>A pipeline, and the end of its connection.</summary>
    private sealed class Server(RedisPipeline pipeline, Connection connection, TcpClient accepted) : IAsyncDisposable
    {
        private readonly List<Task> _calls = [];
        private readonly StreamReader _reader = new(accepted.GetStream());

        /// <summary>The reasons with which the end was told.</summary>
        public ConcurrentQueue<string> Ends { get; private init; } = [];

        public static async Task<Server> StartAsync()
        {
            using var listener = new TcpListener(IPAddress.Loopback, 0);
            listener.Start();
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(listener.LocalEndpoint);
            var accepted = await listener.AcceptTcpClientAsync();
            var (connection, ends) = (new Connection(socket), new ConcurrentQueue<string>());
            return new Server(new RedisPipeline(connection, 0, ends.Enqueue), connection, accepted) { Ends = ends };
        }

        /// <summary>Makes calls, each with its name as the only argument.</summary>
        public void Call(params string[] names) => _calls.AddRange(names.Select(CallAsync));

        /// <summary>Reads the next command and answers it; returns its name and last argument.</summary>
        public async Task<string> AnswerNextAsync(string answer)
        {
            var words = new string[await LengthAsync()];
            for (var i = 0; i < words.Length; i++)
            {
                var text = new char[await LengthAsync() + 2];
                await _reader.ReadBlockAsync(text).AsTask().WaitAsync(Node.Patience);
                words[i] = new string(text[..^2]);
            }

            await accepted.Client.SendAsync(System.Text.Encoding.ASCII.GetBytes(answer));
            return $"{words[0]} {words[^1]}";
        }

        /// <summary>Lets all writes fail from here on, after their bytes were sent.</summary>
        public void WritesFail() => connection.IsBroken = true;

        /// <summary>Waits until the pipeline has processed so many answers, each read alone.</summary>
        public Task AnswersAreReadAsync(int count) => connection.ReadAsync(count + 1).WaitAsync(Node.Patience);

        private async Task CallAsync(string name)
        {
            var call = new RedisCall(RedisScript.Probe, [], [name]);
            if ((await pipeline.CallAsync(call, CancellationToken.None)).Exception is { } e)
            {
                throw e;
            }
        }

        public Task AllDoneAsync() => Task.WhenAll(_calls).WaitAsync(Node.Patience);

        public async ValueTask DisposeAsync()
        {
            await pipeline.DisposeAsync();
            _reader.Dispose();
            accepted.Dispose();
        }

        /// <summary>The number in a line such as <c>*3</c> or <c>$5</c>.</summary>
        private async Task<int> LengthAsync() =>
            int.Parse((await _reader.ReadLineAsync().WaitAsync(Node.Patience))![1..], CultureInfo.InvariantCulture);
    }

    /// <summary>The pipeline's connection.</summary>
    private sealed class Connection(Socket socket) : NetworkStream(socket, ownsSocket: true)
    {
        private readonly Channel<bool> _reads = Channel.CreateUnbounded<bool>();

        /// <summary>Whether a write fails when its bytes were sent.</summary>
        public bool IsBroken { get; set; }

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken)
        {
            await base.WriteAsync(buffer, cancellationToken);
            if (IsBroken)
            {
                throw new IOException("Broken pipe");
            }
        }

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken)
        {
            _reads.Writer.TryWrite(true);
            return base.ReadAsync(buffer, cancellationToken);
        }

        /// <summary>Completes when it was read from so often.</summary>
        public async Task ReadAsync(int count)
        {
            for (; count > 0; count--)
            {
                await _reads.Reader.ReadAsync();
            }
        }
    }
}
