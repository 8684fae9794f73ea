namespace Dmb.Connections;

/// <summary>
/// What comes on connections, in turns. All is handled on the few threads that see it come, and a client that sends faster than it is
/// served would keep one of them for as long as it likes: every so often the rest of its messages wait in the pool.
/// </summary>
internal static class Turn
{
    /// <summary>Reads in a row, of one connection on one thread, after which the others have their turn.</summary>
    private const int ReadsMax = 32;

    /// <summary>Whose turn it is on this thread.</summary>
    [ThreadStatic]
    private static object? _whose;

    [ThreadStatic]
    private static int _reads;

    /// <summary>Counts a read. When this is true the connection has to let others come first.</summary>
    public static bool IsOver(object connection)
    {
        if (_whose != connection)
        {
            // The thread came to another connection: nobody keeps it.
            (_whose, _reads) = (connection, 0);
        }

        if (++_reads < ReadsMax)
        {
            return false;
        }

        _whose = null;
        return true;
    }
}
