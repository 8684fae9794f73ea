using System.Threading.Channels;
using Dmb.Sockets;

namespace Dmb.Tests.Sockets;

/// <summary>One writer, bounded, in order, whatever the output takes and whenever it is replaced.</summary>
public sealed class SendQueueTests
{
    private const int FramesMax = 4;
    private const int BytesMax = 100;

    private readonly TestOutput _output = new();
    private readonly SendQueue _queue;

    public SendQueueTests() => _queue = new SendQueue(_output, FramesMax, BytesMax);

    [Fact]
    public async Task Frames_queued_during_a_pending_write_are_written_in_one_batch()
    {
        Assert.True(_queue.TryWriteNow([1]));
        Assert.False(_queue.TryWriteNow([2]));
        Assert.Equal(Enqueued.Waits, _queue.Enqueue([2]));
        Assert.Equal(Enqueued.Waits, _queue.Enqueue([3, 4]));

        Assert.Equal([1], await _output.TakeAsync());
        Assert.Equal([2, 3, 4], await _output.TakeAsync());
    }

    [Fact]
    public async Task The_rest_of_a_partial_write_is_offered_again()
    {
        Assert.True(_queue.TryWriteNow([1, 2, 3]));
        Assert.Equal([1, 2, 3], await _output.TakeAsync(1));
        Assert.Equal([2, 3], await _output.TakeAsync(1));
        Assert.Equal([3], await _output.TakeAsync());
        Assert.Equal(Enqueued.BeginsWriting, _queue.Enqueue([4]));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public async Task An_output_replaced_during_a_write_leaves_the_rest_to_the_new_one(int taken)
    {
        var replacement = new TestOutput();
        Assert.True(_queue.TryWriteNow([1, 2, 3]));
        Assert.Equal(Enqueued.Waits, _queue.Enqueue([4]));

        _queue.SwapOutput(replacement);
        await _output.TakeAsync(taken);

        // The rest may be offered with what was queued meanwhile.
        byte[] all = [];
        while (all.Length < 4 - taken)
        {
            all = [.. all, .. await replacement.TakeAsync()];
        }

        Assert.Equal(new byte[] { 1, 2, 3, 4 }[taken..], all);
        Assert.False(_output.IsAborted);
    }

    [Fact]
    public async Task A_sealed_queue_ends_when_its_last_bytes_are_written_and_not_before()
    {
        Assert.True(_queue.TryWriteNow([1]));
        Assert.True(_queue.Seal([9], dropped: null, out var mustFlush));
        Assert.False(mustFlush);
        Assert.False(_queue.Seal([8], dropped: null, out _));
        Assert.Equal(Enqueued.Sealed, _queue.Enqueue([2]));

        await _output.TakeAsync();
        Assert.False(_queue.Ended.IsCompleted);
        Assert.Equal([9], await _output.TakeAsync());
        await _queue.Ended.WaitAsync(Node.Patience);
    }

    [Fact]
    public void A_full_queue_rejects_further_frames_and_bytes()
    {
        Assert.True(_queue.TryWriteNow([0]));
        for (byte i = 0; i < FramesMax; i++)
        {
            Assert.Equal(Enqueued.Waits, _queue.Enqueue([i]));
        }

        Assert.Equal(Enqueued.Full, _queue.Enqueue([9]));

        var other = new SendQueue(new TestOutput(), FramesMax, BytesMax);
        Assert.True(other.TryWriteNow([0]));
        Assert.Equal(Enqueued.Waits, other.Enqueue(new byte[BytesMax + 1]));
        Assert.Equal(Enqueued.Full, other.Enqueue([1]));
    }

    [Fact]
    public async Task A_failed_write_cuts_the_connection_and_discards_the_queue()
    {
        Assert.True(_queue.TryWriteNow([1]));
        Assert.Equal(Enqueued.Waits, _queue.Enqueue([2]));
        await _output.FailAsync(new IOException("gone"));

        await _queue.Ended.WaitAsync(Node.Patience);
        Assert.Equal("gone", _queue.Failure!.Message);
        Assert.True(_output.IsAborted);
        Assert.Equal(0, _queue.Count);
        Assert.Equal(Enqueued.Sealed, _queue.Enqueue([3]));
    }

    [Fact]
    public void A_released_connection_is_not_cut()
    {
        _queue.Release();
        _queue.Cut();
        Assert.False(_output.IsAborted);
    }

    /// <summary>Takes what the test says, when the test says so.</summary>
    private sealed class TestOutput : IFrameOutput
    {
        private readonly Channel<(byte[] Frames, TaskCompletionSource<int> Taken)> _writes = Channel.CreateUnbounded<(
            byte[],
            TaskCompletionSource<int>
        )>();

        public bool IsAborted { get; private set; }

        public ValueTask<int> WriteAsync(ReadOnlyMemory<byte> frames)
        {
            var taken = new TaskCompletionSource<int>();
            _writes.Writer.TryWrite((frames.ToArray(), taken));
            return new ValueTask<int>(taken.Task);
        }

        public void Abort() => IsAborted = true;

        /// <summary>The next write, of which so many bytes are taken, or all.</summary>
        public async Task<byte[]> TakeAsync(int? bytes = null)
        {
            var (frames, taken) = await _writes.Reader.ReadAsync().AsTask().WaitAsync(Node.Patience);
            taken.SetResult(bytes ?? frames.Length);
            return frames;
        }

        public async Task FailAsync(Exception why) =>
            (await _writes.Reader.ReadAsync().AsTask().WaitAsync(Node.Patience)).Taken.SetException(why);
    }
}
