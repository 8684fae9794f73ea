using System.Text;

namespace Dmb.Endpoints;

/// <summary>
/// Decodes digits only; any other byte becomes U+FFFD. Kestrel decodes <c>Content-Length</c> by it, and then refuses a
/// sign, which it takes otherwise and RFC 9110 §8.6 has not.
/// </summary>
internal sealed class DigitsEncoding : Encoding
{
    /// <summary>The only instance.</summary>
    public static readonly DigitsEncoding Instance = new();

    public override int GetByteCount(char[] chars, int index, int count) => count;

    public override int GetBytes(char[] chars, int charIndex, int charCount, byte[] bytes, int byteIndex) =>
        ASCII.GetBytes(chars, charIndex, charCount, bytes, byteIndex);

    public override int GetCharCount(byte[] bytes, int index, int count) => count;

    public override int GetChars(byte[] bytes, int byteIndex, int byteCount, char[] chars, int charIndex)
    {
        for (var i = 0; i < byteCount; i++)
        {
            var value = (char)bytes[byteIndex + i];
            chars[charIndex + i] = char.IsAsciiDigit(value) ? value : '\uFFFD';
        }

        return byteCount;
    }

    public override int GetMaxByteCount(int charCount) => charCount;

    public override int GetMaxCharCount(int byteCount) => byteCount;
}
