//! How messages become bytes: prost's way, with buffers of the size of our messages.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// What a call's buffer has at first, one for each direction. A heartbeat takes some ten bytes, a
/// checkout some hundred, and a session keeps both buffers for as long as it is open: with
/// tonic's own 8 KiB they were a third of it. What is larger makes them grow.
const BUFFER_BYTES: usize = 512;
/// Encoded before it is sent, if more is ready: tonic's own.
const YIELD_BYTES: usize = 32 * 1024;

/// The codec of all services.
#[derive(Debug, Default)]
pub struct MessageCodec<T, U>(PhantomData<(T, U)>);

fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
}

impl<T, U> Codec for MessageCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(buffers())
    }
}
