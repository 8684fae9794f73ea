using Dmb.Routing;

namespace Dmb.Tests.Routing;

public sealed class ChunkPoolTests
{
    private readonly ChunkPool _pool = new();

    [Fact]
    public void Chunks_that_many_rooms_return_at_the_same_time_are_used_again()
    {
        var held = Rent(8_000);
        var returned = held.Take(1_000).ToHashSet();
        foreach (var chunk in returned)
        {
            _pool.Return(chunk);
        }

        Assert.True(returned.SetEquals(Rent(1_000)));
    }

    [Fact]
    public void The_unused_chunks_that_are_kept_become_fewer_with_those_that_rooms_hold()
    {
        var held = Rent(8_000);
        foreach (var chunk in held)
        {
            _pool.Return(chunk);
        }

        Assert.Equal(256, Rent(1_000).Count(held.Contains));
    }

    [Theory]
    [InlineData(1, 512)]
    [InlineData(512, 512)]
    [InlineData(513, 1_024)]
    [InlineData(4_096, 4_096)]
    [InlineData(10_000, 4_096)]
    public void A_chunk_has_the_bytes_that_are_asked_for_up_to_the_largest(int bytes, int size) =>
        Assert.Equal(size, _pool.Rent(bytes).Length);

    private HashSet<byte[]> Rent(int chunks) =>
        [.. Enumerable.Range(0, chunks).Select(_ => _pool.Rent(ChunkPool.SizeMax))];
}
