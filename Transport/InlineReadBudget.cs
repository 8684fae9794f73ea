namespace Dmb.Transport;

/// <summary>
/// What comes on connections, in turns. All is handled on the few threads that see it come, and a client that sends
/// faster than it is served would keep one of them for as long as it likes: every so often the rest of its messages
/// wait in the pool.
/// </summary>
internal static class InlineReadBudget
{
    /// <summary>Reads in a row, of one connection on one thread, after which the others have their turn.</summary>
    private const int ReadsMax = 32;

    /// <summary>What is larger counts as several reads.</summary>
    private const int ReadBytes = 4_096;

    /// <summary>Whose turn it is on this thread.</summary>
    [ThreadStatic]
    private static object? _whose;

    [ThreadStatic]
    private static int _reads;

    /// <summary>Counts a read. When this is true the connection has to let others come first.</summary>
    /// <param name="connection">Which one it is.</param>
    /// <param name="bytes">What the read before brought; they are counted once.</param>
    public static bool IsSpent(object connection, ref int bytes)
    {
        if (_whose != connection)
        {
            // The thread has come to another connection, so that none keeps it.
            (_whose, _reads) = (connection, 0);
        }

        _reads += 1 + (bytes / ReadBytes);
        bytes = 0;
        if (_reads < ReadsMax)
        {
            return false;
        }

        _whose = null;
        return true;
    }
}
